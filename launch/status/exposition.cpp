#include "launch/status/exposition.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "core/build_features.h"

namespace trident {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

class Families {
 public:
  void gauge(const char* name, const char* help, double value, Labels labels = {}) {
    if (!std::isfinite(value)) return;
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.gauge.value = value;
    add(name, help, MetricType::Gauge, std::move(metric));
  }
  void counter(const char* name, const char* help, double value, Labels labels = {}) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.counter.value = value;
    add(name, help, MetricType::Counter, std::move(metric));
  }
  void add(const char* name, const char* help, MetricType type, ClientMetric metric) {
    if (families_.empty() || families_.back().name != name) families_.push_back({name, help, type, {}});
    families_.back().metric.push_back(std::move(metric));
  }
  [[nodiscard]] std::string text() const {
    return prometheus::TextSerializer().prometheus::Serializer::Serialize(families_);
  }

 private:
  std::vector<MetricFamily> families_;
};

void add_progress(Families& out, const RunStatus& status) {
  const StepMetrics& last = status.last;
  out.gauge("trident_step", "Last step that stands", static_cast<double>(last.step));
  out.gauge("trident_target_steps", "Steps that the job asks for", static_cast<double>(status.total_steps));
  out.gauge("trident_loss", "Training loss of that step, nats", last.loss);
  out.gauge("trident_validation_loss", "Loss of the last evaluation, nats", status.last_evaluation.val_loss);
  out.gauge("trident_learning_rate", "Learning rate of that step", last.step > 0 ? last.lr : NAN);
  out.gauge("trident_grad_norm", "Global gradient norm of that step before clipping", last.grad_norm);
  out.gauge("trident_mfu_ratio", "Model FLOP/s to the processors' peak", last.mfu.value_or(NAN));
  out.gauge("trident_memory_peak_bytes", "Largest memory of any rank",
            last.memory_gib_max > 0 ? last.memory_gib_max * 1073741824.0 : NAN);
  out.gauge("trident_tokens_per_second", "Over all ranks, median of the last 20 steps", status.tokens_per_s);
  out.counter("trident_tokens_total", "Label tokens trained on, those of steps done again too",
              std::round(status.tokens_done));
  if (std::isfinite(last.time))
    out.gauge("trident_last_progress_timestamp_seconds", "When the last step ended, since 1970", last.time);
}

void add_durations(Families& out, const RunStatus& status) {
  ClientMetric metric;
  uint64_t below = 0;
  for (size_t i = 0; i < status.durations.counts.size(); ++i) {
    below += status.durations.counts[i];
    const bool last = i == StepDurations::kBounds.size();
    metric.histogram.bucket.push_back({below, last ? INFINITY : StepDurations::kBounds[i]});
  }
  metric.histogram.sample_count = below;
  metric.histogram.sample_sum = status.durations.sum;
  out.add("trident_step_duration_seconds", "Wall time of a step", MetricType::Histogram, std::move(metric));
  const PhaseSeconds& sums = status.phases;
  for (const auto& [phase, seconds] :
       {std::pair("data", sums.data), std::pair("compute", sums.compute), std::pair("comm", sums.comm),
        std::pair("bubble", sums.bubble), std::pair("optimizer", sums.optimizer),
        std::pair("checkpoint", sums.checkpoint)})
    out.counter("trident_phase_seconds_total", "Seconds of steps by phase, each the most of any rank", seconds,
                {{"phase", phase}});
}

void add_operation(Families& out, const RunStatus& status) {
  const Ledger& ledger = status.ledger;
  out.gauge("trident_goodput_ratio", "Time of steps that stand to the wall time of all attempts", ledger.goodput());
  for (size_t i = 0; i < kTimeUses; ++i)
    out.gauge("trident_wall_seconds", "What the wall time of all attempts went into", ledger.seconds[i],
              {{"use", std::string(to_string(static_cast<TimeUse>(i)))}});
  out.counter("trident_lost_steps_total", "Steps that were done and then lost", static_cast<double>(ledger.lost_steps));
  for (const auto& [cause, count] : status.faults)
    out.counter("trident_restarts_total", "Faults that ended a gang, by cause", static_cast<double>(count),
                {{"reason", cause}});
  out.counter("trident_checkpoints_total", "Checkpoints made durable", static_cast<double>(status.checkpoints));
  if (status.checkpoints > 0) {
    out.gauge("trident_checkpoint_last_step", "Step of the newest checkpoint",
              static_cast<double>(status.checkpoint_step));
    out.gauge("trident_checkpoint_duration_seconds", "How long the newest took to become durable", status.checkpoint_s);
  }
  out.gauge("trident_epoch", "Number of the gang", static_cast<double>(status.epoch));
  out.gauge("trident_healthy", "1 while the run makes progress, as /healthz says", status.healthy ? 1 : 0);
}

template <class Get>
void add_per_rank(Families& out, const GangStatus& gang, const char* name, const char* help, Get get) {
  for (const RankStatus& rank : gang.ranks)
    out.gauge(name, help, get(rank), {{"rank", std::to_string(rank.rank)}, {"host", rank.host}});
}

void add_ranks(Families& out, const RunStatus& status) {
  const GangStatus& gang = *status.gang;
  const auto running = std::count_if(gang.ranks.begin(), gang.ranks.end(),
                                     [](const RankStatus& rank) { return rank.state == "running"; });
  out.gauge("trident_ranks", "Ranks of the gang", static_cast<double>(gang.ranks.size()));
  out.gauge("trident_ranks_running", "Those that train", static_cast<double>(running));
  add_per_rank(out, gang, "trident_rank_heartbeat_age_seconds", "Time since the rank's last sign of life",
               [](const RankStatus& rank) { return rank.idle_s; });
  add_per_rank(out, gang, "trident_rank_busy_seconds", "Work at the rank's last step, without waiting",
               [](const RankStatus& rank) { return rank.busy_s > 0 ? rank.busy_s : NAN; });
  add_per_rank(out, gang, "trident_rank_busy_ratio", "That to the median of the rank's peers",
               [](const RankStatus& rank) { return rank.ratio.value_or(NAN); });
  const auto& slow = status.slow_ranks;
  add_per_rank(out, gang, "trident_rank_straggler", "1 for a rank that is named as a straggler",
               [&](const RankStatus& rank) { return std::count(slow.begin(), slow.end(), rank.rank) > 0 ? 1.0 : 0.0; });
}

}  // namespace

std::string exposition(const RunStatus& status) {
  Families out;
  out.gauge("trident_build_info", "The program", 1, {{"version", std::string(build_features::version)}});
  out.gauge("trident_run_info", "The run", 1, {{"run", status.name}});
  add_progress(out, status);
  add_durations(out, status);
  add_operation(out, status);
  if (status.gang) add_ranks(out, status);
  return out.text();
}

}  // namespace trident
