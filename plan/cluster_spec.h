#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/dtype.h"

namespace trident::plan {

/// What a rank can send or receive per second, of its own.
struct Link {
  double bandwidth = 0;   ///< bytes/s in one direction, as sold
  double efficiency = 1;  ///< what collectives get of it
  double latency = 0;     ///< seconds from one rank to the next
  [[nodiscard]] double rate() const { return bandwidth * efficiency; }
};

/// A part of the network whose way out is narrower than what it connects: a rack, a pod.
struct TopologyLevel {
  std::string name;
  int64_t accelerators = 0;
  double oversubscription = 1;  ///< bandwidth of what is inside over bandwidth of the way out
};

/// The constants that are fitted to measurements, one set for each machine type.
struct FittedConstants {
  double matmul = 0.8;     ///< what matrix products get of the peak rate, beside the time for their bytes
  double memory = 0.8;     ///< what all kernels get of the memory's bandwidth
  double attention = 0.6;  ///< attention's rate relative to other products'
};

/// Interruptions, for the goodput simulation.
struct FailureRates {
  double per_accelerator_hour = 0;  ///< interruptions of a job, of any cause
  double node_share = 0;            ///< the part of them that takes the node's memory with it
  double repair_hours = 0;          ///< until a lost node is back
};

/// The machine that a job is planned for. An accelerator is what one rank computes on; where `shared`, a node's ranks
/// share all its accelerators (a CPU's cores), so that fewer ranks get more each.
struct ClusterSpec {
  std::string name;
  int64_t nodes = 1;
  int64_t accelerators_per_node = 1;
  bool shared = false;
  bool host_memory = false;                            ///< the accelerators' memory is the host's, as where shared
  double peak_bf16 = 0, peak_fp32 = 0, peak_fp64 = 0;  ///< FLOP/s of one accelerator
  double peak_fp8 = 0;                                 ///< 0: not known, and taken to be no more than in bf16
  double memory = 0;                                   ///< bytes of one accelerator
  double memory_bandwidth = 0;                         ///< bytes/s of one accelerator
  double cache = 0;                                    ///< bytes that an accelerator's next kernel finds much sooner
  double element_rate = 0;                             ///< elements that kernels read or write per second; 0: no bound
  double kernel_time = 0;                              ///< seconds that no kernel goes below
  bool overlap = true;                                 ///< communication runs beside computation
  Link inside;                                         ///< between accelerators of a node
  Link between;                                        ///< an accelerator's share of the node's network
  std::vector<TopologyLevel> levels;                   ///< beyond the node, from small to large
  FittedConstants fitted;
  double cost_per_hour = 0;  ///< of one accelerator
  FailureRates failures;

  [[nodiscard]] int64_t accelerators() const { return nodes * accelerators_per_node; }
  [[nodiscard]] double peak(DType dtype) const;
  /// Accelerators are the host's own processors, in whose memory snapshots lie too.
  [[nodiscard]] bool on_processors() const { return shared || host_memory; }
  /// Of a job, on the node that has most of them.
  [[nodiscard]] int64_t ranks_on_node(int64_t ranks) const { return (ranks + nodes - 1) / nodes; }
};

/// What each of `ranks` ranks has of the cluster as an accelerator of its own: where a rank is lost, what it had is
/// lost too, and the others have no more than before. Clusters that are not shared stay as they are.
[[nodiscard]] ClusterSpec place_for_each(ClusterSpec cluster, int64_t ranks);

/// Ranks rank, rank + stride, … of a job: one group along a mesh axis.
struct RankGroup {
  int64_t size = 1;
  int64_t stride = 1;
};

/// Times of collectives of one group, while the other groups of the axis do the same. Bandwidth terms are those of
/// rings over all links of a node; latency terms those of rings within a node and trees beyond it.
class Network {
 public:
  /// For a job of `ranks` ranks in a row.
  Network(const ClusterSpec& cluster, int64_t ranks);

  /// Each rank ends with (all-gather) or starts from (reduce-scatter) `bytes`.
  [[nodiscard]] double all_gather(const RankGroup& group, double bytes) const;
  [[nodiscard]] double reduce_scatter(const RankGroup& group, double bytes) const { return all_gather(group, bytes); }
  [[nodiscard]] double all_reduce(const RankGroup& group, double bytes) const { return 2 * all_gather(group, bytes); }
  /// From a rank to the one `stride` further on.
  [[nodiscard]] double send(int64_t stride, double bytes) const;

 private:
  [[nodiscard]] double ring_rate(const RankGroup& group) const;
  [[nodiscard]] bool within_node(const RankGroup& group) const;

  const ClusterSpec& cluster_;
  int64_t ranks_;
  int64_t per_node_;  // ranks
};

}  // namespace trident::plan
