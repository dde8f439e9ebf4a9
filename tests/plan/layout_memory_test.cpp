#include "plan/layout_memory.h"

#include <gtest/gtest.h>

#include "plan/predict.h"
#include "tests/plan/jobs.h"
#include "tests/train/planned_run.h"

namespace trident::plan::testing {
namespace {

using trident::testing::expect_planned;
using trident::testing::LayoutRun;

struct Case {
  const char* name;
  MeshShape mesh;
  const char* schedule = "1f1b";
  int64_t virtual_stages = 1;
  int64_t micro_batch = 1;
  Recompute recompute = Recompute::none;
  bool sequence_parallel = false;
  int zero = 1;
  DType compute = DType::fp32;
  bool tied = false;
  int64_t shards = 0;
};

LayoutRun run_of(const Case& test) {
  LayoutRun run;
  run.model = small_model(test.tied);
  run.compute = test.compute;
  run.recompute = test.recompute;
  run.global_batch_size = 16;
  run.micro_batch_size = test.micro_batch;
  run.sequence_length = 128;
  run.layout.mesh = test.mesh;
  run.layout.schedule.name = test.schedule;
  run.layout.schedule.virtual_stages = test.virtual_stages;
  run.layout.sequence_parallel = test.sequence_parallel;
  run.layout.zero_stage = test.zero == 0 ? ZeroStage::replicated : ZeroStage::optimizer_state;
  run.layout.logical_shards = static_cast<int>(test.shards > 0 ? test.shards : test.mesh.dp);
  return run;
}

// What the trainer plans for its ranks, the largest of them.
MemoryEstimate trainer_memory(const LayoutRun& run) {
  const EngineOptions options = run.options();
  MemoryEstimate most;
  for (int pp = 0; pp < run.layout.mesh.pp; ++pp) {
    const int rank = mesh_rank(run.layout.mesh, {0, 0, pp}, run.layout.order);
    const MemoryEstimate memory = dry_run(run.model, options, rank, Stream::meta()).memory;
    if (memory.on_device() > most.on_device()) most = memory;
  }
  return most;
}

// As Checkpointer makes them and SnapshotReceiver keeps them.
TEST(SnapshotsOfARank, AreThoseOfAnotherNodesRankToo) {
  const ClusterSpec one = cluster(1), two = cluster(2);
  EXPECT_EQ(snapshots_of_rank(one, one.accelerators()), SnapshotMemory::kBuffers);
  EXPECT_EQ(snapshots_of_rank(two, two.accelerators()), SnapshotMemory::kCopiedBuffers + SnapshotMemory::kCopyBuffers);
  EXPECT_EQ(snapshots_of_rank(two, 1), SnapshotMemory::kBuffers);
}

class LayoutMemory : public ::testing::TestWithParam<Case> {};

TEST_P(LayoutMemory, IsWithinFivePercentOfTheTrainers) {
  const LayoutRun run = run_of(GetParam());
  ASSERT_EQ(impossible(trident::testing::workload_of(run), trident::testing::layout_of(run)), std::nullopt);
  expect_planned(run, trainer_memory(run));
}

constexpr auto kNone = Recompute::none, kSelective = Recompute::selective, kFull = Recompute::full;

INSTANTIATE_TEST_SUITE_P(
    Layouts, LayoutMemory,
    ::testing::Values(
        Case{"one_rank", {1, 1, 1}}, Case{"micro_batch_4", {1, 1, 1}, "1f1b", 1, 4},
        Case{"selective", {1, 1, 1}, "1f1b", 1, 4, kSelective}, Case{"full", {1, 1, 1}, "1f1b", 1, 4, kFull},
        Case{"tied", {1, 1, 1}, "1f1b", 1, 2, kNone, false, 1, DType::fp32, true},
        Case{"tp_2", {1, 2, 1}, "1f1b", 1, 2}, Case{"tp_4_sequence", {1, 4, 1}, "1f1b", 1, 2, kNone, true},
        Case{"tp_2_sequence_selective", {1, 2, 1}, "1f1b", 1, 4, kSelective, true},
        Case{"tp_2_sequence_full", {1, 2, 1}, "1f1b", 1, 4, kFull, true}, Case{"pp_2", {1, 1, 2}, "1f1b", 1, 2},
        Case{"pp_4", {1, 1, 4}, "1f1b", 1, 1}, Case{"pp_2_gpipe", {1, 1, 2}, "gpipe", 1, 4},
        Case{"pp_2_interleaved", {1, 1, 2}, "interleaved", 2, 1},
        Case{"pp_2_interleaved_4", {1, 1, 2}, "interleaved", 4, 2, kSelective},
        Case{"pp_4_zb_h1", {1, 1, 4}, "zb-h1", 1, 1}, Case{"pp_2_zb_v", {1, 1, 2}, "zb-v", 2, 1},
        Case{"pp_4_zb_v", {1, 1, 4}, "zb-v", 2, 1}, Case{"dp_4_zero_0", {4, 1, 1}, "1f1b", 1, 2, kNone, false, 0},
        Case{"dp_4_zero_1", {4, 1, 1}, "1f1b", 1, 2},
        Case{"dp_2_bf16", {2, 1, 1}, "1f1b", 1, 4, kNone, false, 1, DType::bf16},
        Case{"one_bf16", {1, 1, 1}, "1f1b", 1, 4, kNone, false, 1, DType::bf16},
        Case{"fp64", {2, 1, 1}, "1f1b", 1, 1, kNone, false, 1, DType::fp64},
        Case{"shards", {2, 1, 1}, "1f1b", 1, 1, kNone, false, 1, DType::fp32, false, 8},
        Case{"tied_pp_shards", {2, 1, 2}, "1f1b", 1, 1, kNone, false, 1, DType::fp32, true, 4},
        Case{"all", {2, 2, 2}, "1f1b", 1, 2, kSelective, true, 1, DType::bf16, true}),
    [](const auto& instance) { return std::string(instance.param.name); });

}  // namespace
}  // namespace trident::plan::testing
