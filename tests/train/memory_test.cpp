#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/plan/jobs.h"
#include "tests/train/layout_runs.h"
#include "tests/train/planned_run.h"
#include "train/saved_state.h"

namespace trident::testing {
namespace {

// Large enough that pages do not matter: 5.5 million parameters.
ModelConfig model_of(bool tied) {
  ModelConfig config = plan::testing::small_model(tied);
  config.num_hidden_layers = 4;
  config.max_position_embeddings = 64;
  return config;
}

struct Case {
  const char* name;
  MeshShape mesh;
  const char* schedule = "1f1b";
  ZeroStage zero = ZeroStage::optimizer_state;
  bool sequence_parallel = false;
  int logical_shards = 0;  // 0: dp
  DType compute = DType::fp32;
  bool tied = false;
};

LayoutRun run_of(const Case& test) {
  LayoutRun run;
  run.model = model_of(test.tied);
  run.compute = test.compute;
  run.global_batch_size = 8;
  run.sequence_length = 64;
  run.steps = 2;
  run.layout.mesh = test.mesh;
  run.layout.schedule.name = test.schedule;
  run.layout.zero_stage = test.zero;
  run.layout.sequence_parallel = test.sequence_parallel;
  run.layout.logical_shards = test.logical_shards > 0 ? test.logical_shards : test.mesh.dp;
  return run;
}

class MemoryOf : public ::testing::TestWithParam<Case> {};

// What lies in memory after some steps is what the plan says before the first, for every kind and rank, and what the
// planner says of the largest.
TEST_P(MemoryOf, EveryKindIsWithinFivePercentOfThePlan) {
  const LayoutRun run = run_of(GetParam());
  std::mutex of_largest;
  MemoryEstimate largest;
  run_ranks(static_cast<int>(run.layout.mesh.ranks()), [&](const Communicator& world) {
    const MemoryEstimate planned = dry_run(run.model, run.options(), world.rank(), Stream::meta()).memory;
    LayoutOutcome unused;
    std::mutex mutex;
    MemoryEstimate found;
    train_rank(run, world, unused, mutex, {.end = [&](const Engine& engine) {
                 found = engine.resident();
                 found.snapshots = static_cast<size_t>(SnapshotMemory::kBuffers * SavedState(engine).snapshot_bytes());
               }});
    const auto expect_close = [&](const char* kind, size_t is, size_t plan) {
      const double off = std::abs(static_cast<double>(is) - static_cast<double>(plan)) / static_cast<double>(plan);
      EXPECT_LE(off, 0.05) << kind << " of rank " << world.rank() << ": " << is << " bytes, planned " << plan;
    };
    expect_close("parameters", found.parameters, planned.parameters);
    expect_close("gradients", found.gradients, planned.gradients);
    expect_close("optimizer", found.optimizer, planned.optimizer);
    expect_close("activations", found.activations, planned.activations);
    expect_close("all", found.total() + planned.communication, planned.total());
    found.communication = planned.communication;
    const std::lock_guard lock(of_largest);
    if (found.on_device() > largest.on_device()) largest = found;
  });
  expect_planned(run, largest);
}

INSTANTIATE_TEST_SUITE_P(
    Layouts, MemoryOf,
    ::testing::Values(Case{"one_rank", {1, 1, 1}}, Case{"tied", {1, 1, 1}, "1f1b", {}, false, 0, DType::fp32, true},
                      Case{"tp", {1, 2, 1}}, Case{"sequence_parallel", {1, 2, 1}, "1f1b", {}, true},
                      Case{"pp", {1, 1, 2}}, Case{"pp_zb_v", {1, 1, 2}, "zb-v"}, Case{"pp_gpipe", {1, 1, 2}, "gpipe"},
                      Case{"zero_0", {2, 1, 1}, "1f1b", ZeroStage::replicated},
                      Case{"zero_1", {2, 1, 1}, "1f1b", ZeroStage::optimizer_state},
                      Case{"zero_1_bf16", {2, 1, 1}, "1f1b", ZeroStage::optimizer_state, false, 0, DType::bf16},
                      Case{"shards_that_wait", {1, 1, 1}, "1f1b", ZeroStage::optimizer_state, false, 4},
                      Case{"all", {2, 2, 2}, "zb-h1", ZeroStage::optimizer_state, true, 0, DType::fp32, true}),
    [](const auto& instance) { return std::string(instance.param.name); });

// The kinds' sizes from the model alone: what tensor, pipeline and optimizer sharding divide.
TEST(MemoryPlan, ShardsDivideWhatTheyShard) {
  const auto planned = [](const Case& test, int rank) {
    const LayoutRun run = run_of(test);
    return dry_run(run.model, run.options(), rank, Stream::meta()).memory;
  };
  const auto near = [](size_t a, double b) { EXPECT_NEAR(static_cast<double>(a), b, 0.01 * b); };
  const auto all = static_cast<double>(4 * parameter_count(model_of(false)));
  const MemoryEstimate one = planned({"one", {1, 1, 1}}, 0);
  near(one.parameters, all);
  near(one.gradients, all);
  near(one.optimizer, 2 * all);
  const MemoryEstimate tp = planned({"tp", {1, 4, 1}}, 0);
  near(tp.parameters, all / 4);
  const MemoryEstimate zero = planned({"zero", {4, 1, 1}}, 1);
  near(zero.parameters, all);
  near(zero.optimizer, 2 * all / 4);
  near(planned({"zero", {4, 1, 1}, "1f1b", ZeroStage::replicated}, 1).optimizer, 2 * all);
  double over_stages = 0;
  for (int rank = 0; rank < 4; ++rank) over_stages += static_cast<double>(planned({"pp", {1, 1, 4}}, rank).parameters);
  EXPECT_NEAR(over_stages, all, 0.01 * all);
  // Four shards of a rank: the sums of one and of two shards wait.
  near(planned({"shards", {1, 1, 1}, "1f1b", {}, false, 4}, 0).gradients, 3 * all);
}

}  // namespace
}  // namespace trident::testing
