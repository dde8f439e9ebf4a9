#include "checkpoint/snapshot_partner.h"

#include <algorithm>
#include <set>
#include <utility>

#include "core/error.h"

namespace trident {
namespace {

class Partners {
 public:
  Partners(const MeshShape& mesh, const MeshOrder& order, std::span<const int> node_of)
      : mesh_(mesh), order_(order), node_of_(node_of) {
    for (int rank = 0; rank < std::ssize(node_of); ++rank) group_nodes_.push_back(nodes_of_groups(rank));
  }

  [[nodiscard]] std::vector<int> at(const MeshCoordinates& way) const {
    std::vector<int> partners;
    for (int rank = 0; rank < std::ssize(node_of_); ++rank) {
      const MeshCoordinates from = mesh_coordinates(mesh_, rank, order_);
      partners.push_back(mesh_rank(
          mesh_, {(from.dp + way.dp) % mesh_.dp, (from.tp + way.tp) % mesh_.tp, (from.pp + way.pp) % mesh_.pp},
          order_));
    }
    return partners;
  }
  /// On the own node, and on a node of one of the rank's groups.
  [[nodiscard]] std::pair<int, int> cost(const std::vector<int>& partners) const {
    std::pair<int, int> cost{0, 0};
    for (size_t rank = 0; rank < partners.size(); ++rank) {
      const int node = node_of_[static_cast<size_t>(partners[rank])];
      cost.first += node == node_of_[rank] ? 1 : 0;
      cost.second += group_nodes_[rank].contains(node) ? 1 : 0;
    }
    return cost;
  }

 private:
  [[nodiscard]] std::set<int> nodes_of_groups(int rank) const {
    std::set<int> nodes;
    const MeshCoordinates at = mesh_coordinates(mesh_, rank, order_);
    const auto add = [&](const MeshCoordinates& member) {
      nodes.insert(node_of_[static_cast<size_t>(mesh_rank(mesh_, member, order_))]);
    };
    for (int dp = 0; dp < mesh_.dp; ++dp) add({dp, at.tp, at.pp});
    for (int tp = 0; tp < mesh_.tp; ++tp) add({at.dp, tp, at.pp});
    for (int pp = 0; pp < mesh_.pp; ++pp) add({at.dp, at.tp, pp});
    return nodes;
  }

  const MeshShape& mesh_;
  const MeshOrder& order_;
  std::span<const int> node_of_;
  std::vector<std::set<int>> group_nodes_;
};

}  // namespace

std::vector<int> snapshot_partners(const MeshShape& mesh, const MeshOrder& order, std::span<const int> node_of) {
  TRIDENT_CHECK(std::ssize(node_of) == mesh.ranks());
  const Partners partners(mesh, order, node_of);
  std::vector<int> best = partners.at({});
  auto least = partners.cost(best);
  for (int tp = 0; tp < mesh.tp; ++tp) {
    for (int pp = 0; pp < mesh.pp; ++pp) {
      for (int dp = 0; dp < mesh.dp; ++dp) {
        std::vector<int> other = partners.at({dp, tp, pp});
        const auto cost = partners.cost(other);
        if (cost >= least) continue;
        least = cost;
        best = std::move(other);
        if (least == std::pair(0, 0)) return best;
      }
    }
  }
  return best;
}

}  // namespace trident
