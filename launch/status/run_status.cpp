#include "launch/status/run_status.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "train/metrics/human_text.h"

namespace trident {
namespace {

constexpr size_t kCurvePoints = 400;
constexpr size_t kRecentSteps = 20;
constexpr size_t kEvents = 60;
constexpr size_t kStragglers = 20;
constexpr double kPublished = 10;  // seconds within which a supervisor that lives has looked at its gang

// Rows whose step no later attempt has done again, by step.
template <class Row>
std::vector<const Row*> standing(const std::vector<Row>& rows) {
  std::vector<const Row*> kept;
  int64_t next = std::numeric_limits<int64_t>::max();
  for (auto row = rows.rbegin(); row != rows.rend(); ++row) {
    if (row->step >= next) continue;
    next = row->step;
    kept.push_back(&*row);
  }
  std::reverse(kept.begin(), kept.end());
  return kept;
}

// The mean of as many rows as a point stands for; the last row always.
template <class Row, class Get>
Curve curve_of(const std::vector<const Row*>& rows, Get get) {
  Curve curve;
  const size_t each = rows.size() / kCurvePoints + 1;
  for (size_t i = 0; i < rows.size(); i += each) {
    const size_t end = std::min(i + each, rows.size());
    double sum = 0;
    for (size_t k = i; k < end; ++k) sum += get(*rows[k]);
    curve.steps.push_back(rows[end - 1]->step);
    curve.values.push_back(sum / static_cast<double>(end - i));
  }
  return curve;
}

template <class Get>
double recent_median(const std::vector<const StepMetrics*>& rows, Get get) {
  std::vector<double> values;
  for (size_t i = rows.size() - std::min(rows.size(), kRecentSteps); i < rows.size(); ++i) {
    if (std::isfinite(get(*rows[i]))) values.push_back(get(*rows[i]));
  }
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

double finite(double value) { return std::isfinite(value) && value > 0 ? value : 0; }

void add_sums(RunStatus& status, const std::vector<StepMetrics>& rows) {
  for (const StepMetrics& row : rows) {
    const double seconds = finite(row.step_s);
    status.tokens_done += finite(row.tokens_per_s) * seconds;
    const auto& bounds = StepDurations::kBounds;
    const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), seconds) - bounds.begin();
    ++status.durations.counts[static_cast<size_t>(bucket)];
    status.durations.sum += seconds;
    status.phases.data += finite(row.time_s.data);
    status.phases.compute += finite(row.time_s.compute);
    status.phases.comm += finite(row.time_s.comm);
    status.phases.bubble += finite(row.time_s.bubble);
    status.phases.optimizer += finite(row.time_s.optimizer);
    status.phases.checkpoint += finite(row.time_s.checkpoint);
  }
}

void add_steps(RunStatus& status, const MetricsHistory& rows) {
  const auto steps = standing(rows.steps);
  const auto evaluations = standing(rows.evaluations);
  if (!steps.empty()) status.last = *steps.back();
  if (!evaluations.empty()) status.last_evaluation = *evaluations.back();
  status.loss = curve_of(steps, [](const StepMetrics& row) { return row.loss; });
  status.validation_loss = curve_of(evaluations, [](const EvalMetrics& row) { return row.val_loss; });
  status.step_s = recent_median(steps, [](const StepMetrics& row) { return row.step_s; });
  status.tokens_per_s = recent_median(steps, [](const StepMetrics& row) { return row.tokens_per_s; });
  if (status.total_steps > 0 && std::isfinite(status.step_s))
    status.eta_s = status.step_s * static_cast<double>(std::max<int64_t>(status.total_steps - status.last.step, 0));
  add_sums(status, rows.steps);
}

void add_events(RunStatus& status, const std::vector<EventRecord>& events) {
  for (const EventRecord& event : events) {
    if (event.event == RunEvent::verdict) ++status.faults[event.cause.empty() ? "unknown" : event.cause];
    if (event.event != RunEvent::checkpoint_commit) continue;
    ++status.checkpoints;
    status.checkpoint_step = event.step;
    status.checkpoint_s = event.seconds.value_or(0);
  }
  for (auto event = events.rbegin(); event != events.rend() && status.events.size() < kEvents; ++event) {
    const bool minor = event->event == RunEvent::sample || event->event == RunEvent::checkpoint_begin;
    if (!minor) status.events.push_back(*event);
  }
  auto spans = find_stragglers(events);
  for (const StragglerSpan& span : spans) {
    if (status.gang && span.attempt == status.epoch && !span.last_step) status.slow_ranks.push_back(span.rank);
  }
  std::reverse(spans.begin(), spans.end());
  spans.resize(std::min(spans.size(), kStragglers));
  status.stragglers = std::move(spans);
}

void add_layout(RunStatus& status, const std::vector<EpochRecord>& epochs) {
  if (status.gang) {
    status.epoch = status.gang->epoch;
    status.mesh = status.gang->mesh;
  } else if (!epochs.empty()) {
    const EpochRecord& last = epochs.back();
    const auto width = [](int64_t value) { return static_cast<int>(std::clamp<int64_t>(value, 0, 1 << 20)); };
    status.epoch = last.epoch;
    status.mesh = {width(last.dp), width(last.tp), width(last.pp)};
  } else {
    status.epoch = status.last.attempt;
  }
}

void say(RunStatus& status, std::string state, bool healthy, std::string reason) {
  status.state = std::move(state);
  status.healthy = healthy;
  status.reason = std::move(reason);
}

// The verdict that the run has not recovered from yet.
const EventRecord* open_verdict(const std::vector<EventRecord>& events) {
  const auto last = std::find_if(events.rbegin(), events.rend(), [](const EventRecord& event) {
    return event.event == RunEvent::verdict || event.event == RunEvent::restart || event.event == RunEvent::stop;
  });
  return last != events.rend() && last->event == RunEvent::verdict ? &*last : nullptr;
}

const RankStatus* overdue(const GangStatus& gang) {
  const auto late = [](const RankStatus& rank) { return rank.state != "ended" && rank.idle_s > rank.limit_s; };
  const auto found = std::find_if(gang.ranks.begin(), gang.ranks.end(), late);
  return found == gang.ranks.end() ? nullptr : &*found;
}

void judge_gang(RunStatus& status, const std::vector<EventRecord>& events) {
  const GangStatus& gang = *status.gang;
  const auto count = [&](const char* state) {
    return std::count_if(gang.ranks.begin(), gang.ranks.end(), [&](const RankStatus& r) { return r.state == state; });
  };
  if (const EventRecord* verdict = open_verdict(events))
    return say(status, "recovering", false, fmt::format("no new step yet since a fault: {}", verdict->detail));
  if (status.now - gang.time > kPublished)
    return say(
        status, "silent", false,
        fmt::format("the supervisor has not looked at the ranks for {}", human_duration(status.now - gang.time)));
  if (const RankStatus* late = overdue(gang))
    return say(status, "silent", false,
               fmt::format("rank {} on {} gives no sign of life for {} in {}", late->rank, late->host,
                           human_duration(late->idle_s), late->phase));
  if (const auto starting = count("starting"); starting > 0)
    return say(status, "starting", true, fmt::format("{} of {} ranks start", starting, gang.ranks.size()));
  if (count("ended") == std::ssize(gang.ranks)) return say(status, "ended", true, "all ranks have ended");
  say(status, "training", true, fmt::format("{} ranks train", gang.ranks.size()));
}

void judge_files(RunStatus& status, const std::vector<EventRecord>& events) {
  const auto last = std::find_if(events.rbegin(), events.rend(), [](const EventRecord& event) {
    return event.event != RunEvent::sample && event.event != RunEvent::straggler;
  });
  if (last == events.rend()) return say(status, "unknown", false, "no events are recorded");
  if (last->event == RunEvent::stop && status.total_steps > 0 && last->step >= status.total_steps)
    return say(status, "complete", true, "all steps are done");
  if (last->event == RunEvent::stop) return say(status, "stopped", false, fmt::format("at step {}", last->step));
  if (last->event == RunEvent::verdict || last->event == RunEvent::fault)
    return say(status, "failed", false, last->detail);
  say(status, "unknown", false, "no end is recorded: it runs without a status server, or was killed");
}

}  // namespace

RunStatus make_status(const RunDirectory& run, const RunFacts& facts, const RunFiles& files,
                      std::shared_ptr<const GangStatus> gang, double now) {
  RunStatus status;
  status.now = now;
  status.folder = run.root().string();
  status.name = facts.run_name.empty() ? run.root().filename().string() : facts.run_name;
  status.total_steps = facts.total_steps;
  status.parameters = facts.parameters;
  status.gang = std::move(gang);
  add_steps(status, files.rows());
  add_layout(status, files.epochs());
  add_events(status, files.events());
  const std::optional<double> goes_on = status.gang ? std::optional(now) : std::nullopt;
  status.ledger = make_ledger(files.rows(), files.events(), files.epochs(), goes_on);
  status.gang ? judge_gang(status, files.events()) : judge_files(status, files.events());
  return status;
}

}  // namespace trident
