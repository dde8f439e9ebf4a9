#include "parallel/comm/device_mesh.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <set>

#include "core/error.h"
#include "parallel/comm/threads/thread_ranks.h"

namespace trident {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const MeshOrder kOrders[] = {
    kDefaultMeshOrder, {Axis::tp, Axis::pp, Axis::dp}, {Axis::pp, Axis::dp, Axis::tp}, {Axis::dp, Axis::tp, Axis::pp}};

TEST(DeviceMesh, EveryShapeOfUpToEightRanks) {
  for (int ranks = 1; ranks <= 8; ++ranks) {
    for (int tp = 1; tp <= ranks; ++tp) {
      for (int pp = 1; tp * pp <= ranks; ++pp) {
        if (ranks % (tp * pp) != 0) continue;
        const MeshShape shape{ranks / tp / pp, tp, pp};
        const MeshOrder& order = kOrders[static_cast<size_t>(ranks + tp) % std::size(kOrders)];
        run_ranks(ranks, [&](const Communicator& world) {
          const DeviceMesh mesh(world, shape, order);
          EXPECT_EQ(mesh.rank_at(mesh.coordinates()), world.rank());
          for (const Axis axis : {Axis::dp, Axis::tp, Axis::pp}) {
            const Communicator& group = mesh.axis(axis);
            ASSERT_EQ(group.size(), shape[axis]) << shape.to_string();
            EXPECT_EQ(group.rank(), mesh.coordinates()[axis]);
            EXPECT_EQ(group.name(), to_string(axis));
            // Who is in the group: those that differ in this axis only.
            std::vector<int64_t> members(static_cast<size_t>(group.size()));
            const int64_t mine[] = {world.rank()};
            group.all_gather(std::span<const int64_t>(mine), std::span<int64_t>(members));
            for (const int64_t member : members) {
              const MeshCoordinates at = mesh.coordinates(static_cast<int>(member));
              for (const Axis other : {Axis::dp, Axis::tp, Axis::pp}) {
                EXPECT_TRUE(other == axis || at[other] == mesh.coordinates()[other]);
              }
            }
          }
        });
      }
    }
  }
}

TEST(DeviceMesh, NeighboursAreTensorParallelThenDataParallel) {
  const MeshShape shape{2, 2, 2};
  EXPECT_EQ(mesh_coordinates(shape, 1, kDefaultMeshOrder), (MeshCoordinates{0, 1, 0}));
  EXPECT_EQ(mesh_coordinates(shape, 2, kDefaultMeshOrder), (MeshCoordinates{1, 0, 0}));
  EXPECT_EQ(mesh_coordinates(shape, 4, kDefaultMeshOrder), (MeshCoordinates{0, 0, 1}));
}

TEST(DeviceMesh, KnowsWhatCrossesNodes) {
  ThreadRanksOptions options;
  options.ranks_per_node = 4;
  run_ranks(
      8,
      [](const Communicator& world) {
        const DeviceMesh mesh(world, {2, 2, 2});
        EXPECT_THAT(mesh.ranks_per_node(), ElementsAre(4, 4));
        EXPECT_FALSE(mesh.crosses_nodes(Axis::tp));
        EXPECT_FALSE(mesh.crosses_nodes(Axis::dp));
        EXPECT_TRUE(mesh.crosses_nodes(Axis::pp));
        EXPECT_EQ(mesh.host(5), "node1");
      },
      options);
}

TEST(DeviceMesh, NearestLegalShapes) {
  EXPECT_EQ(nearest_mesh({3, 2, 2}, 8), (MeshShape{2, 2, 2}));
  EXPECT_EQ(nearest_mesh({1, 1, 1}, 8), (MeshShape{8, 1, 1}));
  EXPECT_EQ(nearest_mesh({4, 4, 1}, 8), (MeshShape{2, 4, 1}));
  EXPECT_EQ(nearest_mesh({2, 3, 4}, 7).ranks(), 7);
  EXPECT_EQ(nearest_mesh({0, -1, 2}, 2), (MeshShape{1, 1, 2}));
  const auto even_tp = [](const MeshShape& shape) { return shape.tp % 2 == 0; };
  EXPECT_EQ(nearest_mesh({8, 1, 1}, 8, even_tp), (MeshShape{4, 2, 1}));
  EXPECT_EQ(nearest_mesh({8, 1, 1}, 7, even_tp), std::nullopt);
}

TEST(DeviceMesh, RefusesInTheUsersTerms) {
  try {
    check_mesh({3, 2, 2}, 8);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::config);
    EXPECT_THAT(error.what(),
                testing::AllOf(HasSubstr("parallelism.dp · tp · pp = 3 · 2 · 2 = 12"), HasSubstr("8 ranks"),
                               HasSubstr("dp=2 tp=2 pp=2"), HasSubstr("mpirun -n 12")));
  }
  EXPECT_THROW(check_mesh({-1, -1, 1}, 1), Error);
  EXPECT_THROW(DeviceMesh(Communicator::self(), {}, {Axis::dp, Axis::dp, Axis::tp}), Error);
}

}  // namespace
}  // namespace trident
