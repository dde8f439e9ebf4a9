#include "train/config/remaining_mesh.h"

#include <gtest/gtest.h>

#include "tests/train/config/job_text.h"
#include "tests/train/config/small_cluster.h"
#include "train/config/decide_mesh.h"

namespace trident {
namespace {

using config_test::small_cluster;
using Mesh = std::optional<MeshShape>;

// llama-tiny with a step of 24 microbatches: 4 layers, 4 heads. `keys` are of the section parallelism.
RemainingMesh started(const std::string& keys, const std::vector<std::string>& overrides = {},
                      const plan::ClusterSpec& cluster = small_cluster()) {
  ResolvedOrigins origins;
  const JobConfig job =
      parse_job(config_test::kSmallJob + "parallelism: {" + keys + "}\n", "job.yaml", overrides, &origins);
  JobConfig decided = job;
  auto& layout = decided.parallelism;
  layout.logical_shards = layout.logical_shards.value_or(layout.dp.value());
  return {job, decided, origins, cluster, false};
}
RemainingMesh of_batch(const std::string& keys, std::vector<std::string> overrides = {}) {
  overrides.insert(overrides.end(), {"training.global_batch_size=24", "training.micro_batch_size=1"});
  return started(keys, overrides);
}

TEST(RemainingMesh, IsTheStartedOneWhereAllPlacesAreThere) {
  const RemainingMesh mesh = of_batch("dp: 2, tp: 2, pp: 2");
  EXPECT_EQ(mesh.choose(8), Mesh({2, 2, 2}));
  EXPECT_EQ(mesh.choose(16), Mesh({2, 2, 2}));
}

TEST(RemainingMesh, UsesWhatIsLeftWithTheSameTp) {
  const RemainingMesh mesh = of_batch("dp: 4, tp: 2, pp: 1");
  EXPECT_EQ(mesh.choose(7), Mesh({3, 2, 1}));
  EXPECT_EQ(mesh.choose(5), Mesh({2, 2, 1}));
  EXPECT_EQ(mesh.choose(2), Mesh({1, 2, 1}));
  EXPECT_EQ(mesh.choose(1), std::nullopt);
}

// Replicas have no bubble, and each logical shard bears one.
TEST(RemainingMesh, PrefersReplicasUpToTheLogicalShards) {
  EXPECT_EQ(of_batch("dp: 2, pp: 2, logical_shards: 8").choose(3), Mesh({3, 1, 1}));
  EXPECT_EQ(of_batch("dp: 2, pp: 2").choose(3), Mesh({2, 1, 1}));
}

TEST(RemainingMesh, KeepsWhatTheJobGives) {
  EXPECT_EQ(of_batch("dp: 2, pp: 2, layers_per_stage: [1, 3]").choose(3), Mesh({1, 1, 2}));
  // Every replica of an interleaved pipeline needs a microbatch for each rank: five replicas would leave some with one.
  const std::string keys = "dp: 3, pp: 2, schedule: interleaved, virtual_stages: 2, layers_per_stage: [1, 1, 1, 1]";
  EXPECT_EQ(started(keys, {"training.global_batch_size=6", "training.micro_batch_size=1"}).choose(5), Mesh({2, 1, 2}));
}

TEST(RemainingMesh, HasNoFewerRanksThanTheFloor) {
  const RemainingMesh mesh = of_batch("dp: 4", {"fault.min_ranks=3"});
  EXPECT_EQ(mesh.choose(3), Mesh({3, 1, 1}));
  EXPECT_EQ(mesh.choose(2), std::nullopt);
}

TEST(RemainingMesh, FitsTheMemory) {
  plan::ClusterSpec small = small_cluster();
  const std::vector<std::string> deep = {"training.global_batch_size=24", "training.micro_batch_size=1",
                                         "model.num_hidden_layers=16", "model.hidden_size=256",
                                         "parallelism.zero_stage=0"};
  const auto choose = [&](double memory) {
    small.memory = memory;
    return started("dp: 2, pp: 4", deep, small).choose(7);
  };
  const Mesh wide = choose(1e9), narrow = choose(1e8);
  ASSERT_TRUE(wide && narrow);
  EXPECT_EQ(wide->pp, 3);
  EXPECT_GT(narrow->pp, wide->pp);
  EXPECT_EQ(choose(1e6), std::nullopt);
}

// A lost rank's processors are lost too: fewer ranks do not get more of them.
TEST(RemainingMesh, OfASharedNodeEveryRankHasItsPlace) {
  plan::ClusterSpec node = small_cluster();
  node.shared = true;
  node.overlap = false;
  node.accelerators_per_node = 2;
  const auto place = plan::place_for_each(node, 4);
  EXPECT_EQ(place.accelerators(), 4);
  EXPECT_DOUBLE_EQ(place.memory, node.memory / 2);
  const std::vector<std::string> batch = {"training.global_batch_size=12", "training.micro_batch_size=1"};
  EXPECT_EQ(started("dp: 4", batch, place).choose(3), Mesh({3, 1, 1}));
}

}  // namespace
}  // namespace trident
