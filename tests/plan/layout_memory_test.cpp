#include "plan/layout_memory.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "plan/predict.h"
#include "tests/plan/jobs.h"
#include "train/engine.h"

namespace trident::plan::testing {
namespace {

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

Workload workload_of(const Case& test) {
  Workload work = workload(small_model(test.tied), 128, 16, test.compute);
  work.logical_shards = test.shards;
  return work;
}

Layout layout_of(const Case& test) {
  Layout layout;
  layout.dp = test.mesh.dp, layout.tp = test.mesh.tp, layout.pp = test.mesh.pp;
  layout.schedule = test.schedule;
  layout.virtual_stages = test.virtual_stages;
  layout.micro_batch_size = test.micro_batch;
  layout.recompute = test.recompute;
  layout.sequence_parallel = test.sequence_parallel;
  layout.zero_stage = test.zero;
  return layout;
}

// What the trainer plans for its ranks, the largest of them.
MemoryEstimate trainer_memory(const Workload& work, const Layout& layout) {
  EngineOptions options;
  options.compute = work.compute;
  options.recompute = layout.recompute;
  options.micro_batch_size = layout.micro_batch_size;
  options.sequence_length = work.sequence_length;
  JobLayout& job = options.layout;
  job.mesh = {static_cast<int>(layout.dp), static_cast<int>(layout.tp), static_cast<int>(layout.pp)};
  job.schedule.name = layout.schedule;
  job.schedule.virtual_stages = layout.virtual_stages;
  job.schedule.ranks = layout.pp;
  job.sequence_parallel = layout.sequence_parallel;
  job.zero_stage = layout.zero_stage == 0 ? ZeroStage::replicated : ZeroStage::optimizer_state;
  job.logical_shards = static_cast<int>(shards_of(work, layout));
  job.microbatches = work.global_batch_size / layout.micro_batch_size;
  if (layout.stages() > 1)
    job.layers_per_stage = cut_by_cost(work.model, work.sequence_length, static_cast<int32_t>(layout.stages()));
  MemoryEstimate most;
  for (int pp = 0; pp < job.mesh.pp; ++pp) {
    const int rank = mesh_rank(job.mesh, {0, 0, pp}, job.order);
    const MemoryEstimate memory = dry_run(work.model, options, rank, Stream::meta()).memory;
    if (memory.on_device() > most.on_device()) most = memory;
  }
  return most;
}

class LayoutMemory : public ::testing::TestWithParam<Case> {};

TEST_P(LayoutMemory, IsWithinFivePercentOfTheTrainers) {
  const Workload work = workload_of(GetParam());
  const Layout layout = layout_of(GetParam());
  ASSERT_EQ(impossible(work, layout), std::nullopt);
  const MemoryEstimate trainer = trainer_memory(work, layout);
  const MemoryByKind planned = layout_memory(work, layout, layers_of_stages(work, layout.stages()));
  const auto expect_close = [&](const char* kind, double is, size_t wanted, double tolerance) {
    const auto want = static_cast<double>(wanted);
    EXPECT_NEAR(is, want, tolerance * want + 65536) << kind << fmt::format(": {:+.1f} %", 100 * (is / want - 1));
  };
  expect_close("parameters", planned.parameters, trainer.parameters, 0.01);
  expect_close("gradients", planned.gradients, trainer.gradients, 0.01);
  expect_close("optimizer", planned.optimizer, trainer.optimizer, 0.01);
  expect_close("snapshots", planned.snapshots, trainer.snapshots, 0.01);
  expect_close("other", planned.other, trainer.communication, 0.05);
  expect_close("activations", planned.activations, trainer.activations, 0.08);
  expect_close("all", planned.on_device(), trainer.on_device(), 0.05);
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
