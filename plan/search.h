#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "plan/cluster_spec.h"
#include "plan/layout.h"

namespace trident::plan {

/// What a search may decide: what has a value stays as it is.
struct SearchSpace {
  int64_t ranks = 1;
  /// For an answer at once: false takes up to `ranks`, where no good layout has just so many, and leaves out uneven
  /// cuts into stages if there are even ones.
  bool use_all_ranks = true;
  std::optional<int64_t> dp, tp, pp, virtual_stages, micro_batch_size;
  std::optional<std::string> schedule;
  std::optional<Recompute> recompute;
  std::optional<bool> sequence_parallel;
  std::optional<int> zero_stage;
  MeshOrder order = kDefaultMeshOrder;
  double memory = 0;      ///< bytes that a rank may use; 0: all of the accelerator's
  int64_t simulate = 16;  ///< so many of the best in closed form are simulated and ranked again
};

/// A mesh of which no layout can run, with the reason of the one that comes nearest.
struct RefusedMesh {
  int64_t dp = 1, tp = 1, pp = 1;
  std::string reason;
};

struct SearchResult {
  std::vector<LayoutPlan> layouts;  ///< simulated ones first, best first; of equal layouts the first
  std::vector<RefusedMesh> refused;
  int64_t evaluated = 0;  ///< layouts that were timed
  int64_t considered = 0;
};

/// Every combination of mesh, schedule, virtual stages, micro-batch size, recomputation, sequence parallelism and ZeRO
/// stage. Left out without timing: what cannot run, what does not fit, and what is never better than another: tensor
/// parallelism beyond a node unless it is given.
[[nodiscard]] SearchResult search(const Workload& workload, const ClusterSpec& cluster, const SearchSpace& space);

/// For recovery: the fastest layout of at most `space.ranks` ranks that `accept` takes, where space.tp is given
/// (checkpoints of another width have other bits). Nothing where none fits.
[[nodiscard]] std::optional<LayoutPlan> best_layout(const Workload& workload, const ClusterSpec& cluster,
                                                    SearchSpace space,
                                                    const std::function<bool(const Layout&)>& accept);

/// Bytes that a rank may use of its accelerator.
[[nodiscard]] double memory_of_a_rank(const ClusterSpec& cluster, int64_t ranks);
/// What counts against it: snapshots too where they lie in the same memory.
[[nodiscard]] double needed_memory(const ClusterSpec& cluster, const MemoryByKind& memory);

}  // namespace trident::plan
