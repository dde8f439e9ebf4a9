#include "train/replica_check.h"

#include <gmock/gmock.h>

namespace trident {
namespace {

using testing::HasSubstr;

constexpr MeshOrder kOrder = kDefaultMeshOrder;

std::vector<StateProof> equal_proofs(const MeshShape& mesh) {
  std::vector<StateProof> proofs(static_cast<size_t>(mesh.ranks()));
  for (int rank = 0; rank < static_cast<int>(mesh.ranks()); ++rank) {
    const MeshCoordinates at = mesh_coordinates(mesh, rank, kOrder);
    proofs[static_cast<size_t>(rank)].weights = 100 * static_cast<uint64_t>(at.pp) + static_cast<uint64_t>(at.tp);
    proofs[static_cast<size_t>(rank)].replicated = static_cast<uint64_t>(at.pp);
  }
  return proofs;
}

int rank_at(const MeshShape& mesh, MeshCoordinates at) { return mesh_rank(mesh, at, kOrder); }

TEST(ReplicaCheck, FindsNothingWhereAllIsEqual) {
  for (const MeshShape mesh : {MeshShape{1, 1, 1}, MeshShape{3, 2, 2}, MeshShape{2, 1, 4}, MeshShape{1, 4, 1}})
    EXPECT_TRUE(compare_proofs(equal_proofs(mesh), mesh, kOrder).equal);
}

TEST(ReplicaCheck, NamesTheMinority) {
  const MeshShape mesh{3, 2, 2};
  for (int rank = 0; rank < 12; ++rank) {
    auto proofs = equal_proofs(mesh);
    proofs[static_cast<size_t>(rank)].weights ^= 1;
    const ProofResult found = compare_proofs(proofs, mesh, kOrder);
    EXPECT_FALSE(found.equal);
    EXPECT_EQ(found.rank, rank);
    EXPECT_FALSE(found.at_rest);
  }
}

TEST(ReplicaCheck, OfTwoItNamesNeitherButSaysWho) {
  const MeshShape mesh{2, 1, 2};
  auto proofs = equal_proofs(mesh);
  const int odd = rank_at(mesh, {.dp = 1, .tp = 0, .pp = 1});
  proofs[static_cast<size_t>(odd)].weights ^= 8;
  const ProofResult found = compare_proofs(proofs, mesh, kOrder);
  EXPECT_FALSE(found.equal);
  EXPECT_EQ(found.rank, -1);
  EXPECT_THAT(found.text, HasSubstr(std::to_string(odd)));
  EXPECT_THAT(found.text, HasSubstr("none is in the majority"));
}

TEST(ReplicaCheck, ComparesWhatTensorParallelRanksHoldWhole) {
  const MeshShape mesh{1, 4, 1};
  auto proofs = equal_proofs(mesh);
  proofs[2].replicated ^= 1;
  EXPECT_EQ(compare_proofs(proofs, mesh, kOrder).rank, 2);
}

// Its copies differ too, but it knows by itself that it is the one.
TEST(ReplicaCheck, WhoseStateChangedAtRestIsWrong) {
  const MeshShape mesh{2, 1, 1};
  auto proofs = equal_proofs(mesh);
  proofs[1].weights ^= 1;
  proofs[1].as_copied = false;
  const ProofResult found = compare_proofs(proofs, mesh, kOrder);
  EXPECT_EQ(found.rank, 1);
  EXPECT_TRUE(found.at_rest);
}

}  // namespace
}  // namespace trident
