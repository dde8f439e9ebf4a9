#include "plan/cluster_spec.h"

#include <algorithm>
#include <cmath>

namespace trident::plan {

double ClusterSpec::peak(DType dtype) const {
  switch (dtype) {
    case DType::bf16: return peak_bf16;
    case DType::fp64: return peak_fp64;
    default: return peak_fp32;
  }
}

ClusterSpec place_for_each(ClusterSpec cluster, int64_t ranks) {
  if (!cluster.shared) return cluster;
  const int64_t places = cluster.ranks_on_node(ranks);
  const double part = static_cast<double>(cluster.accelerators_per_node) / static_cast<double>(places);
  for (double* rate : {&cluster.peak_bf16, &cluster.peak_fp32, &cluster.peak_fp64, &cluster.memory,
                       &cluster.memory_bandwidth, &cluster.cache, &cluster.element_rate})
    *rate *= part;
  cluster.accelerators_per_node = places;
  cluster.shared = false;
  cluster.host_memory = true;
  return cluster;
}

Network::Network(const ClusterSpec& cluster, int64_t ranks)
    : cluster_(cluster),
      ranks_(ranks),
      per_node_(std::max(cluster.accelerators_per_node, cluster.shared ? cluster.ranks_on_node(ranks) : 0)) {}

bool Network::within_node(const RankGroup& group) const {
  return ranks_ <= per_node_ || group.size * group.stride <= per_node_;
}

// Bytes per second that pass every rank of the group. Of a node's ranks, those that belong to one group may use all
// their links for it, since a ring enters and leaves a node once for each link.
double Network::ring_rate(const RankGroup& group) const {
  const double inside = cluster_.inside.rate();
  if (within_node(group)) return inside;
  const double members = static_cast<double>(std::clamp<int64_t>(per_node_ / group.stride, 1, group.size));
  double rate = std::min(inside, members * cluster_.between.rate());
  for (const TopologyLevel& level : cluster_.levels) {
    if (ranks_ <= level.accelerators || group.size * group.stride <= level.accelerators) continue;
    // Every group that has ranks in here and outside passes the way out once in each direction.
    const double groups = std::min(static_cast<double>(group.stride), static_cast<double>(level.accelerators));
    const double way_out = static_cast<double>(level.accelerators) * cluster_.between.rate() / level.oversubscription;
    rate = std::min(rate, way_out / groups);
  }
  return rate;
}

double Network::all_gather(const RankGroup& group, double bytes) const {
  if (group.size <= 1) return 0;
  const auto n = static_cast<double>(group.size);
  const bool inside = within_node(group);
  const double hops = inside ? n - 1 : std::min(n - 1, 2 * std::log2(n));
  return bytes * (n - 1) / n / ring_rate(group) + hops * (inside ? cluster_.inside : cluster_.between).latency;
}

double Network::send(int64_t stride, double bytes) const {
  const bool inside = ranks_ <= per_node_ || 2 * stride <= per_node_;
  const Link& link = inside ? cluster_.inside : cluster_.between;
  double rate = link.rate();
  for (const TopologyLevel& level : cluster_.levels)
    if (!inside && stride >= level.accelerators)
      rate = std::min(rate, cluster_.between.rate() / level.oversubscription);
  return bytes / rate + link.latency;
}

}  // namespace trident::plan
