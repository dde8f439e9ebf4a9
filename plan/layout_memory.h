#pragma once

#include <span>
#include <vector>

#include "parallel/pipeline/memory.h"
#include "plan/cluster_spec.h"
#include "plan/layout.h"

namespace trident::plan {

/// Elements of parameters that a rank of tensor-parallel width tp has of each part.
struct PartParameters {
  double embedding = 0;  ///< with learned positions
  double layer = 0;
  double head = 0;   ///< final norm, and the matrix or its tied copy
  double table = 0;  ///< of `embedding` and `head`: the table alone
};
[[nodiscard]] PartParameters part_parameters(const ModelConfig& model, int64_t tp);

/// What one microbatch leaves behind in a part of the model, and what its passes need for a while, in bytes.
struct PartActivations {
  pipeline::SavedSize saved;
  double forward = 0;   ///< while its forward pass runs, beside what it leaves
  double backward = 0;  ///< while its backward pass runs, beside what it left
};
struct ActivationSizes {
  PartActivations layer, head;
  double boundary = 0;  ///< what passes between stages
};
[[nodiscard]] ActivationSizes activation_sizes(const Workload& workload, const Layout& layout);

/// Parameters that the pipeline rank holds.
[[nodiscard]] double held_parameters(const Workload& workload, const Layout& layout,
                                     std::span<const int32_t> layers_per_stage, int64_t rank);

/// Copies of a rank's optimizer state that a node's memory holds: its own, and where the job has ranks on several nodes
/// those of another node's rank.
[[nodiscard]] int64_t snapshots_of_rank(const ClusterSpec& cluster, int64_t ranks);

/// The memory of the pipeline rank that needs the most, with so many snapshots, by the rules of docs/architecture.md,
/// "Memory".
[[nodiscard]] MemoryByKind layout_memory(const Workload& workload, const Layout& layout,
                                         std::span<const int32_t> layers_per_stage, int64_t snapshots);

}  // namespace trident::plan
