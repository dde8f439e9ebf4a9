#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "model/mlp.h"
#include "model/model_config.h"
#include "parallel/comm/device_mesh.h"
#include "parallel/data/gradient_buckets.h"

namespace trident::plan {

/// What is to be trained: what a layout does not change.
struct Workload {
  ModelConfig model;
  DType compute = DType::bf16;
  LinearPrecision linear = LinearPrecision::compute;  ///< of the blocks' products
  int64_t sequence_length = 0;
  int64_t global_batch_size = 0;  ///< sequences
  ReductionKind reduction = ReductionKind::exact;
  int64_t logical_shards = 0;             ///< 0: as many as data-parallel ranks
  std::vector<int32_t> layers_per_stage;  ///< empty: cut by cost

  [[nodiscard]] double tokens() const {
    return static_cast<double>(global_batch_size) * static_cast<double>(sequence_length);
  }
};

/// How a workload lies on ranks: what a search decides.
struct Layout {
  int64_t dp = 1;
  int64_t tp = 1;
  int64_t pp = 1;
  /// Ranks that share a sequence, each with a run of its tokens. Only for comparing with systems that have it.
  int64_t cp = 1;
  std::string schedule = "1f1b";
  int64_t virtual_stages = 1;  ///< stages per rank
  int64_t micro_batch_size = 1;
  Recompute recompute = Recompute::none;
  bool sequence_parallel = false;
  int zero_stage = 1;
  MeshOrder order = kDefaultMeshOrder;

  [[nodiscard]] int64_t ranks() const { return dp * tp * pp * cp; }
  [[nodiscard]] int64_t stages() const { return pp * virtual_stages; }
  /// The pipeline rank's stage number `number`: around over all ranks, or for zb-v there and back.
  [[nodiscard]] int64_t stage_of(int64_t rank, int64_t number) const {
    return schedule == "zb-v" && number == 1 ? 2 * pp - 1 - rank : number * pp + rank;
  }
  /// Of the last stage.
  [[nodiscard]] int64_t last_rank() const { return schedule == "zb-v" ? 0 : pp - 1; }
  /// Ranks between neighbours along an axis; context-parallel ranks lie beside tensor-parallel ones.
  [[nodiscard]] int64_t stride(Axis axis) const;
  /// "dp 2 · tp 1 · pp 2 · 1f1b · micro batch 2 · recompute none · zero 1"
  [[nodiscard]] std::string to_string() const;
  bool operator==(const Layout&) const = default;
};

[[nodiscard]] std::string_view to_string(Recompute recompute);

/// Microbatches of a step for the data-parallel rank with the most of them; 0 where there are too few for all.
[[nodiscard]] int64_t most_microbatches(const Workload& workload, const Layout& layout);
/// For the rank with the fewest.
[[nodiscard]] int64_t fewest_microbatches(const Workload& workload, const Layout& layout);
/// Logical shards: given, or one for each data-parallel rank.
[[nodiscard]] int64_t shards_of(const Workload& workload, const Layout& layout);

/// Layers of every stage: the workload's own, or cut so that the dearest stage costs the least. Costs are forward
/// FLOPs; the head counts, the embedding's look-ups do not.
[[nodiscard]] std::vector<int32_t> layers_of_stages(const Workload& workload, int64_t stages);

/// Bytes of the rank that needs the most.
struct MemoryByKind {
  double parameters = 0;
  double gradients = 0;
  double optimizer = 0;
  double activations = 0;
  double other = 0;      ///< what arrives from other ranks
  double snapshots = 0;  ///< the host's: copies of the optimizer's state
  /// What the accelerator holds.
  [[nodiscard]] double on_device() const { return parameters + gradients + optimizer + activations + other; }
};

/// Where a step's time goes on the rank that computes longest, seconds.
struct TimeByKind {
  double forward = 0;
  double backward = 0;  ///< recomputation included
  double tensor_parallel = 0;
  double bubble = 0;  ///< waits of the pipeline, transfers included
  double data_parallel = 0;
  double optimizer = 0;
};

/// A layout with what is predicted of it.
struct LayoutPlan {
  Layout layout;
  int64_t microbatches = 0;  ///< of the rank with the most
  double step_s = 0;
  double tokens_per_s_per_rank = 0;
  double tflops_per_rank = 0;  ///< model FLOPs (flops_per_token: attention counted in full), recomputation not counted
  double mfu = 0;              ///< of the accelerator's peak
  double mfu_causal = 0;       ///< the same with half of attention's FLOPs
  double bubble_ratio = 0;
  double exposed_comm_s = 0;
  TimeByKind time;
  MemoryByKind memory;
  bool simulated = false;  ///< by the schedule's simulator; else in closed form
};

}  // namespace trident::plan
