#pragma once

#include "plan/cluster_spec.h"
#include "plan/layout.h"

namespace trident::plan {

/// Seconds that a part of the model takes for one microbatch on one rank. Computation and the tensor-parallel
/// communication that it waits for are apart. A backward pass comes whole, where communication hides behind products as
/// ColumnParallelLinear::backward has it, or split.
struct PassTimes {
  double forward = 0;
  double input = 0;      ///< input gradient, with what is recomputed first
  double weight = 0;     ///< weight gradient
  double recompute = 0;  ///< of `input`
  double forward_comm = 0;
  double backward_comm = 0;  ///< of a whole backward pass
  double input_comm = 0;     ///< of a split one
  double weight_comm = 0;

  [[nodiscard]] double whole_forward() const { return forward + forward_comm; }
  [[nodiscard]] double whole_backward() const { return input + weight + backward_comm; }
};

/// What a model's parts cost under a layout.
struct PartTimes {
  PassTimes layer, embedding, head;
};

/// A product takes its FLOPs at the fitted part of the peak and its bytes at the fitted part of the bandwidth, one
/// partly behind the other (the root of the sum of squares), so that efficiency falls with the size; other kernels take
/// their bytes. A CPU's processors do one after the other, and where a product has fewer blocks than a rank has
/// processors, some wait. Attention counts the causal half, which is what kernels compute.
[[nodiscard]] PartTimes part_times(const Workload& workload, const Layout& layout, const ClusterSpec& cluster);

/// The optimizer's pass over `owned` parameters of the `held` ones on a rank: gradient norm, update, zeroed gradients,
/// and `merges` sums of logical shards.
[[nodiscard]] double optimizer_time(const Workload& workload, double held, double owned, double merges,
                                    const ClusterSpec& cluster, int64_t ranks);

/// What a rank has of a shared node: several accelerators, or a part of one where ranks outnumber them.
[[nodiscard]] double accelerators_of_a_rank(const ClusterSpec& cluster, int64_t ranks);

}  // namespace trident::plan
