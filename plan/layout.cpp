#include "plan/layout.h"

#include <fmt/format.h>

#include <algorithm>

#include "parallel/data/reduction_tree.h"
#include "parallel/pipeline/stage_cut.h"
#include "parallel/tensor/tensor_parallel.h"

namespace trident::plan {
namespace {

int64_t microbatches_of_rank(const Workload& workload, const Layout& layout, int64_t rank) {
  const int64_t all = (workload.global_batch_size + layout.micro_batch_size - 1) / layout.micro_batch_size;
  const int64_t shards = shards_of(workload, layout);
  if (layout.dp > shards || shards > all) return 0;
  const ShardRun run =
      trident::shards_of(static_cast<int>(rank), static_cast<int>(layout.dp), static_cast<int>(shards));
  const ShardRange first = shard_range(all, run.begin, static_cast<int>(shards));
  const ShardRange last = shard_range(all, run.end - 1, static_cast<int>(shards));
  return last.begin + last.count - first.begin;
}

}  // namespace

std::string_view to_string(Recompute recompute) {
  switch (recompute) {
    case Recompute::none: return "none";
    case Recompute::selective: return "selective";
    case Recompute::full: return "full";
  }
  return "?";
}

int64_t Layout::stride(Axis axis) const {
  int64_t ranks = 1;
  for (const Axis before : order) {
    if (before == axis) break;
    ranks *= before == Axis::dp ? dp : before == Axis::tp ? tp * cp : pp;
  }
  return ranks;
}

std::string Layout::to_string() const {
  std::string text = fmt::format("dp {} · tp {} · pp {}", dp, tp, pp);
  if (cp > 1) text += fmt::format(" · cp {}", cp);
  if (pp > 1) text += " · " + schedule + (schedule == "interleaved" ? fmt::format(" of {}", virtual_stages) : "");
  text += fmt::format(" · micro batch {} · recompute {}", micro_batch_size, plan::to_string(recompute));
  if (tp > 1) text += sequence_parallel ? " · sequence parallel" : " · no sequence parallel";
  return text + fmt::format(" · ZeRO {}", zero_stage);
}

int64_t shards_of(const Workload& workload, const Layout& layout) {
  return workload.logical_shards > 0 ? workload.logical_shards : layout.dp;
}

int64_t most_microbatches(const Workload& workload, const Layout& layout) {
  return microbatches_of_rank(workload, layout, 0);
}

int64_t fewest_microbatches(const Workload& workload, const Layout& layout) {
  return microbatches_of_rank(workload, layout, layout.dp - 1);
}

std::vector<int32_t> layers_of_stages(const Workload& workload, int64_t stages) {
  if (static_cast<int64_t>(workload.layers_per_stage.size()) == stages) return workload.layers_per_stage;
  const ModelConfig& model = workload.model;
  const auto layers = static_cast<size_t>(model.num_hidden_layers);
  if (stages == 1) return {static_cast<int32_t>(layers)};
  ModelConfig longer = model;
  ++longer.num_hidden_layers;
  const double all = flops_per_token(model, workload.sequence_length);
  const double layer = flops_per_token(longer, workload.sequence_length) - all;
  return pipeline::cut_stages({0.0, std::vector<double>(layers, layer), all - layer * static_cast<double>(layers)},
                              static_cast<int32_t>(stages));
}

}  // namespace trident::plan
