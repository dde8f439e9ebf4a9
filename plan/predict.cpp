#include "plan/predict.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "core/error.h"
#include "parallel/pipeline/lower.h"
#include "parallel/pipeline/schedule.h"
#include "parallel/pipeline/stage_cut.h"
#include "plan/layout_memory.h"

namespace trident::plan {
namespace {

// The gradients of the last bucket wait for the last product.
constexpr double kBucketElements = 1 << 20;
constexpr double kLostToCrowding = 0.3;

bool splits_backward(const Layout& layout) { return layout.schedule == "zb-h1" || layout.schedule == "zb-v"; }

pipeline::ScheduleRequest request_of(const Layout& layout, int64_t microbatches) {
  return {layout.schedule, layout.pp, microbatches, layout.schedule == "interleaved" ? layout.virtual_stages : 0};
}

pipeline::Schedule lowered(const Layout& layout, int64_t microbatches) {
  return lower(make_schedule(request_of(layout, microbatches)));
}

std::optional<std::string> wrong_cut(const Workload& workload, int64_t stages) {
  if (workload.layers_per_stage.empty()) return std::nullopt;
  try {
    pipeline::check_stage_cut(workload.layers_per_stage, static_cast<int32_t>(workload.model.num_hidden_layers),
                              static_cast<int32_t>(stages));
  } catch (const Error& refusal) {
    return "layers_per_stage: " + refusal.problem();
  }
  return std::nullopt;
}

class Prediction {
 public:
  Prediction(const Workload& workload, const Layout& layout, const ClusterSpec& cluster,
             std::span<const int32_t> layers, const PartTimes& parts)
      : workload_(workload),
        layout_(layout),
        cluster_(cluster),
        layers_(layers),
        parts_(parts),
        costs_(stage_costs(workload, layout, cluster, layers, parts)) {
    plan_.layout = layout;
    plan_.microbatches = most_microbatches(workload, layout);
    sum_ranks();
  }

  LayoutPlan run(PipelineTime how) {
    plan_.simulated = how == PipelineTime::simulated && layout_.pp > 1;
    double pipeline = plan_.simulated ? simulated() : closed_form();
    const double work = slowest() * static_cast<double>(plan_.microbatches);
    pipeline = crowded(pipeline);
    plan_.time.bubble = std::max(0.0, pipeline - work);
    plan_.bubble_ratio = pipeline > 0 ? std::max(0.0, 1 - mean_work() / pipeline) : 0;
    add_parts();
    add_data_parallel();
    finish(pipeline);
    return plan_;
  }

 private:
  void sum_ranks() {
    const auto p = static_cast<size_t>(layout_.pp);
    rank_forward_.assign(p, 0);
    rank_backward_.assign(p, 0);
    rank_weight_.assign(p, 0);
    for (size_t rank = 0; rank < p; ++rank)
      for (int64_t number = 0; number < layout_.virtual_stages; ++number) {
        const pipeline::StageCost& cost = costs_.stages[stage_of(rank, number)];
        rank_forward_[rank] += cost.forward;
        rank_backward_[rank] += cost.input + cost.weight;
        rank_weight_[rank] += cost.weight;
      }
  }

  size_t stage_of(size_t rank, int64_t number) const {
    return static_cast<size_t>(layout_.stage_of(static_cast<int64_t>(rank), number));
  }
  double work(size_t rank) const { return rank_forward_[rank] + rank_backward_[rank]; }
  double slowest() const { return work(slowest_rank()); }
  size_t slowest_rank() const {
    size_t most = 0;
    for (size_t rank = 1; rank < rank_forward_.size(); ++rank)
      if (work(rank) > work(most)) most = rank;
    return most;
  }
  double all_ranks() const {
    return std::accumulate(rank_forward_.begin(), rank_forward_.end(), 0.0) +
           std::accumulate(rank_backward_.begin(), rank_backward_.end(), 0.0);
  }
  double mean_work() const {
    return all_ranks() / static_cast<double>(layout_.pp) * static_cast<double>(plan_.microbatches);
  }

  // The bubbles of parallel/pipeline/schedules.h with the stages' own times.
  double closed_form() const {
    const auto m = static_cast<double>(plan_.microbatches), p = static_cast<double>(layout_.pp);
    const double most = slowest(), others = all_ranks() - most, transfers = 2 * (p - 1) * costs_.transfer;
    const double weights = std::accumulate(rank_weight_.begin(), rank_weight_.end(), 0.0) - rank_weight_[0];
    if (layout_.pp == 1) return m * most;
    if (layout_.schedule == "interleaved")
      return m * most + others / static_cast<double>(layout_.virtual_stages) + 2 * transfers;
    if (layout_.schedule == "zb-h1") return m * most + std::max(0.0, others - 2 * weights) + transfers;
    if (layout_.schedule == "zb-v") return m * most + std::max(0.0, others - 3 * weights) / 2 + 2 * transfers;
    return m * most + others + transfers;
  }

  // In the long run a schedule takes the same time for every p microbatches.
  double simulated() const {
    const int64_t p = layout_.pp, m = plan_.microbatches;
    const int64_t some = 2 * p + m % p;
    if (m <= some + p) return makespan(m);
    const double first = makespan(some), second = makespan(some + p);
    return second + (second - first) / static_cast<double>(p) * static_cast<double>(m - some - p);
  }
  double makespan(int64_t microbatches) const { return simulate(lowered(layout_, microbatches), costs_).makespan; }

  // Where ranks share fewer processors than they are: no schedule is faster than all work together, and a list schedule
  // takes up to (1 − 1/processors) of the longest chain more (Graham 1969). How much of it is lost grows with the
  // chain's length; measured in docs/measurements/planner.md.
  double crowded(double pipeline) const {
    if (!cluster_.shared) return pipeline;
    const double excess = ranks_on_node() / static_cast<double>(cluster_.accelerators_per_node);
    if (excess <= 1) return pipeline;
    const double together = mean_work() * excess, chain = pipeline / together;
    return std::max(pipeline, together) * (1 + kLostToCrowding * std::min(1.0, chain * chain));
  }
  double ranks_on_node() const { return static_cast<double>(cluster_.ranks_on_node(layout_.ranks())); }

  // Of the rank that works longest.
  void add_parts() {
    const auto m = static_cast<double>(plan_.microbatches);
    const size_t rank = slowest_rank();
    const PassTimes& layer = parts_.layer;
    for (int64_t number = 0; number < layout_.virtual_stages; ++number) {
      const size_t stage = stage_of(rank, number);
      add(layer, m * layers_[stage]);
      if (stage == 0) add(parts_.embedding, m);
      if (stage + 1 == layers_.size()) add(parts_.head, m);
    }
  }
  void add(const PassTimes& times, double count) {
    plan_.time.forward += count * times.forward;
    plan_.time.backward += count * (times.input + times.weight);
    plan_.time.tensor_parallel +=
        count *
        (times.forward_comm + (splits_backward(layout_) ? times.input_comm + times.weight_comm : times.backward_comm));
  }

  // Gradients of a layer leave once its last microbatch is done, weights arrive before its first.
  void add_data_parallel() {
    double held = 0;
    for (int64_t rank = 0; rank < layout_.pp; ++rank)
      held = std::max(held, held_parameters(workload_, layout_, layers_, rank));
    const bool sharded = layout_.zero_stage == 1;
    const double owned = sharded ? held / static_cast<double>(layout_.dp) : held;
    const double merges = static_cast<double>(shards_of(workload_, layout_)) / static_cast<double>(layout_.dp) - 1;
    const Network network(cluster_, layout_.ranks());
    const RankGroup dp{layout_.dp * layout_.cp, layout_.stride(Axis::dp)};
    const auto gradient = static_cast<double>(size_of(accumulation_dtype(workload_.compute)));
    const double reduce = network.reduce_scatter(dp, held * gradient);
    const double gather = network.all_gather(dp, held * static_cast<double>(size_of(workload_.compute)));
    plan_.time.data_parallel = beyond(reduce, held, reduce_window());
    plan_.time.data_parallel +=
        sharded ? beyond(gather, held, gather_window()) : network.all_gather(dp, held * gradient);
    plan_.time.optimizer = optimizer_time(workload_, held, owned, merges, cluster_, layout_.ranks());
    if (cluster_.shared) plan_.time.optimizer = crowded_time(plan_.time.optimizer);
  }
  double crowded_time(double time) const {
    return time * std::max(1.0, ranks_on_node() / static_cast<double>(cluster_.accelerators_per_node));
  }

  double beyond(double communication, double held, double window) const {
    if (!cluster_.overlap) return communication;
    const double last_bucket = communication * std::min(1.0, kBucketElements / held);
    return std::max(last_bucket, communication - window);
  }
  // The backward pass of the last microbatch; with several stages on a rank the gradients of the later stages leave
  // p microbatches earlier each.
  double reduce_window() const {
    const auto v = static_cast<double>(layout_.virtual_stages), p = static_cast<double>(layout_.pp);
    return rank_backward_[0] / v * (1 + (v - 1) * p);
  }
  double gather_window() const {
    const auto v = static_cast<double>(layout_.virtual_stages), p = static_cast<double>(layout_.pp);
    return rank_forward_[0] / v * (1 + (v - 1) * p);
  }

  void finish(double pipeline) {
    const TimeByKind& time = plan_.time;
    plan_.step_s = pipeline + time.data_parallel + time.optimizer;
    plan_.exposed_comm_s = time.tensor_parallel + time.data_parallel + exposed_transfers();
    const auto ranks = static_cast<double>(layout_.ranks());
    const double tokens = workload_.tokens(), flops = flops_per_token(workload_.model, workload_.sequence_length);
    plan_.tokens_per_s_per_rank = tokens / plan_.step_s / ranks;
    plan_.tflops_per_rank = plan_.tokens_per_s_per_rank * flops * 1e-12;
    const double attention = flops - flops_per_token(workload_.model, 0);
    const double peak = peak_of_a_rank();
    plan_.mfu = peak > 0 ? plan_.tokens_per_s_per_rank * flops / peak : 0;
    plan_.mfu_causal = peak > 0 ? plan_.tokens_per_s_per_rank * (flops - attention / 2) / peak : 0;
  }
  double exposed_transfers() const {
    return layout_.pp == 1 ? 0 : 2 * static_cast<double>(layout_.pp - 1) * costs_.transfer;
  }
  double peak_of_a_rank() const {
    const double peak = cluster_.peak(workload_.compute);
    if (!cluster_.shared) return peak;
    return peak * static_cast<double>(cluster_.accelerators_per_node) / ranks_on_node();
  }

  const Workload& workload_;
  const Layout& layout_;
  const ClusterSpec& cluster_;
  std::span<const int32_t> layers_;
  const PartTimes& parts_;
  pipeline::SimulationCosts costs_;
  std::vector<double> rank_forward_, rank_backward_, rank_weight_;  // of a microbatch
  LayoutPlan plan_;
};

}  // namespace

LayoutPlan predict(const Workload& workload, const Layout& layout, const ClusterSpec& cluster, PipelineTime how) {
  const std::vector<int32_t> layers = layers_of_stages(workload, layout.stages());
  return predict(workload, layout, cluster, layers, part_times(workload, layout, cluster), how);
}

LayoutPlan predict(const Workload& workload, const Layout& layout, const ClusterSpec& cluster,
                   std::span<const int32_t> layers_per_stage, const PartTimes& parts, PipelineTime how) {
  LayoutPlan plan = Prediction(workload, layout, cluster, layers_per_stage, parts).run(how);
  plan.memory = layout_memory(workload, layout, layers_per_stage, snapshots_of_rank(cluster, layout.ranks()));
  return plan;
}

std::optional<std::string> impossible(const Workload& workload, const Layout& layout) {
  if (const auto problems = tensor_parallel_problems(workload.model, layout.tp); !problems.empty())
    return problems.front().problem;
  const int64_t rows = layout.micro_batch_size * workload.sequence_length;
  if (workload.linear == LinearPrecision::fp8) {
    if (const auto problems = fp8_problems(workload.model, layout.tp); !problems.empty())
      return problems.front().problem;
    if (rows % kFp8Multiple != 0)
      return fmt::format("fp8 needs multiples of {}: a microbatch has {} tokens", kFp8Multiple, rows);
  }
  if (layout.stages() > workload.model.num_hidden_layers)
    return fmt::format("{} stages are more than num_hidden_layers {}", layout.stages(),
                       workload.model.num_hidden_layers);
  if (auto reason = wrong_cut(workload, layout.stages())) return reason;
  if (layout.sequence_parallel && rows % layout.tp != 0)
    return fmt::format("the {} tokens of a microbatch cannot split over tp {}", rows, layout.tp);
  if (workload.logical_shards > 0 && layout.dp > workload.logical_shards)
    return fmt::format("dp {} exceeds logical_shards {}", layout.dp, workload.logical_shards);
  const int64_t most = most_microbatches(workload, layout);
  if (most < 1)
    return fmt::format("global_batch_size {} in microbatches of {} leaves some of dp {} replicas without one",
                       workload.global_batch_size, layout.micro_batch_size, layout.dp);
  if (const auto refusal = refuse(request_of(layout, most))) return refusal->reason;
  if (layout.schedule == "interleaved" && fewest_microbatches(workload, layout) < layout.pp)
    return fmt::format("interleaved needs at least pp {} microbatches on every dp rank", layout.pp);
  return std::nullopt;
}

PredictedStep predict_pipeline(const Workload& workload, const Layout& layout, const ClusterSpec& cluster) {
  const std::vector<int32_t> layers = layers_of_stages(workload, layout.stages());
  const PartTimes parts = part_times(workload, layout, cluster);
  pipeline::Schedule schedule = lowered(layout, most_microbatches(workload, layout));
  pipeline::Simulation simulation = simulate(schedule, stage_costs(workload, layout, cluster, layers, parts));
  return {std::move(schedule), std::move(simulation)};
}

pipeline::SimulationCosts stage_costs(const Workload& workload, const Layout& layout, const ClusterSpec& cluster,
                                      std::span<const int32_t> layers_per_stage, const PartTimes& parts) {
  const bool split = splits_backward(layout);
  const auto cost_of = [&](const PassTimes& times, double count) {
    return pipeline::StageCost{count * times.whole_forward(),
                               count * (times.input + (split ? times.input_comm : times.backward_comm)),
                               count * (times.weight + (split ? times.weight_comm : 0))};
  };
  const auto add = [](pipeline::StageCost& to, const pipeline::StageCost& cost) {
    to.forward += cost.forward;
    to.input += cost.input;
    to.weight += cost.weight;
  };
  pipeline::SimulationCosts costs;
  costs.stages.clear();
  for (const int32_t layers : layers_per_stage) costs.stages.push_back(cost_of(parts.layer, layers));
  add(costs.stages.front(), cost_of(parts.embedding, 1));
  add(costs.stages.back(), cost_of(parts.head, 1));
  const bool cuts_rows = layout.sequence_parallel && layout.tp > 1;
  const double rows = static_cast<double>(layout.micro_batch_size * workload.sequence_length) /
                      static_cast<double>(layout.cp * (cuts_rows ? layout.tp : 1));
  const double bytes =
      rows * static_cast<double>(workload.model.hidden_size) * static_cast<double>(size_of(workload.compute));
  costs.transfer = Network(cluster, layout.ranks()).send(layout.stride(Axis::pp), bytes);
  return costs;
}

}  // namespace trident::plan
