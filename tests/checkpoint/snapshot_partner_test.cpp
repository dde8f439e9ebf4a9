#include "checkpoint/snapshot_partner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace trident {
namespace {

std::vector<int> nodes(int64_t ranks, int per_node) {
  std::vector<int> node_of(static_cast<size_t>(ranks));
  for (int rank = 0; rank < ranks; ++rank) node_of[static_cast<size_t>(rank)] = rank / per_node;
  return node_of;
}

bool share_a_group(const MeshShape& mesh, int a, int b) {
  const MeshCoordinates p = mesh_coordinates(mesh, a, kDefaultMeshOrder),
                        q = mesh_coordinates(mesh, b, kDefaultMeshOrder);
  return (p.dp != q.dp ? 1 : 0) + (p.tp != q.tp ? 1 : 0) + (p.pp != q.pp ? 1 : 0) <= 1;
}

/// Ranks whose partner's node has a rank of one of their groups.
int on_nodes_of_groups(const MeshShape& mesh, const std::vector<int>& partners, const std::vector<int>& node_of) {
  int found = 0;
  for (int rank = 0; rank < std::ssize(partners); ++rank) {
    const int node = node_of[static_cast<size_t>(partners[static_cast<size_t>(rank)])];
    bool shared = false;
    for (int other = 0; other < std::ssize(partners); ++other)
      shared = shared || (node_of[static_cast<size_t>(other)] == node && share_a_group(mesh, rank, other));
    found += shared ? 1 : 0;
  }
  return found;
}

TEST(SnapshotPartner, EveryRankKeepsOneCopyAndOnAnotherNodeWhereThereIsOne) {
  for (const int dp : {1, 2, 3, 4}) {
    for (const int tp : {1, 2, 4}) {
      for (const int pp : {1, 2, 3}) {
        for (const int per_node : {1, 2, 4, 8}) {
          const MeshShape mesh{dp, tp, pp};
          SCOPED_TRACE(mesh.to_string() + ", ranks on a node: " + std::to_string(per_node));
          const auto node_of = nodes(mesh.ranks(), per_node);
          const auto partners = snapshot_partners(mesh, kDefaultMeshOrder, node_of);
          EXPECT_EQ(std::set<int>(partners.begin(), partners.end()).size(), partners.size());
          if (mesh.ranks() % per_node != 0 || mesh.ranks() < 2 * per_node) continue;
          for (int rank = 0; rank < mesh.ranks(); ++rank)
            EXPECT_NE(node_of[static_cast<size_t>(partners[static_cast<size_t>(rank)])],
                      node_of[static_cast<size_t>(rank)]);
        }
      }
    }
  }
}

TEST(SnapshotPartner, StaysOutsideOfTheRanksGroupsWhereTheMeshAllowsIt) {
  struct Case {
    MeshShape mesh;
    int per_node = 1;
    int within = 0;  ///< partners that cannot but be on a node of a group
  };
  const Case cases[] = {{{2, 2, 2}, 2, 0}, {{4, 4, 2}, 4, 0}, {{2, 8, 4}, 8, 0}, {{3, 1, 3}, 1, 0}, {{2, 2, 4}, 4, 16},
                        {{4, 2, 1}, 2, 8}, {{1, 2, 4}, 2, 8}, {{2, 1, 2}, 2, 4}, {{8, 1, 1}, 4, 8}, {{4, 8, 4}, 16, 0}};
  for (const auto& [mesh, per_node, within] : cases) {
    SCOPED_TRACE(mesh.to_string() + ", ranks on a node: " + std::to_string(per_node));
    const auto node_of = nodes(mesh.ranks(), per_node);
    EXPECT_EQ(on_nodes_of_groups(mesh, snapshot_partners(mesh, kDefaultMeshOrder, node_of), node_of), within);
  }
}

TEST(SnapshotPartner, TakesTheNearestOfThoseAsGood) {
  const auto diagonal = snapshot_partners({2, 2, 2}, kDefaultMeshOrder, nodes(8, 2));
  EXPECT_EQ(diagonal, (std::vector<int>{6, 7, 4, 5, 2, 3, 0, 1}));
  EXPECT_EQ(snapshot_partners({4, 1, 1}, kDefaultMeshOrder, nodes(4, 1)), (std::vector<int>{1, 2, 3, 0}));
  EXPECT_EQ(snapshot_partners({2, 1, 1}, kDefaultMeshOrder, nodes(2, 2)), (std::vector<int>{0, 1})) << "one node";
}

}  // namespace
}  // namespace trident
