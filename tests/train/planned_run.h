#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "plan/layout_memory.h"
#include "tests/train/layout_runs.h"

namespace trident::testing {

/// A run in the planner's words.
inline plan::Workload workload_of(const LayoutRun& run) {
  plan::Workload work;
  work.model = run.model;
  work.compute = run.compute;
  work.sequence_length = run.sequence_length;
  work.global_batch_size = run.global_batch_size;
  work.logical_shards = run.layout.logical_shards;
  return work;
}

inline plan::Layout layout_of(const LayoutRun& run) {
  const JobLayout& job = run.layout;
  plan::Layout layout;
  layout.dp = job.mesh.dp, layout.tp = job.mesh.tp, layout.pp = job.mesh.pp;
  layout.schedule = job.schedule.name;
  layout.virtual_stages = stages_per_rank(job.schedule);
  layout.micro_batch_size = run.micro_batch_size;
  layout.recompute = run.recompute;
  layout.sequence_parallel = job.sequence_parallel;
  layout.zero_stage = static_cast<int>(job.zero_stage);
  return layout;
}

/// The planner's closed form against what the largest rank has, kind by kind.
inline void expect_planned(const LayoutRun& run, const MemoryEstimate& has) {
  const plan::Workload work = workload_of(run);
  const plan::Layout layout = layout_of(run);
  const plan::MemoryByKind planned =
      plan::layout_memory(work, layout, plan::layers_of_stages(work, layout.stages()), SnapshotMemory::kBuffers);
  const auto expect_close = [](const char* kind, double is, size_t wanted, double tolerance) {
    const auto want = static_cast<double>(wanted);
    EXPECT_NEAR(is, want, tolerance * want + 65536)
        << "the planner's " << kind << fmt::format(": {:+.1f} %", 100 * (is / want - 1));
  };
  expect_close("parameters", planned.parameters, has.parameters, 0.01);
  expect_close("gradients", planned.gradients, has.gradients, 0.01);
  expect_close("optimizer", planned.optimizer, has.optimizer, 0.01);
  expect_close("snapshots", planned.snapshots, has.snapshots, 0.01);
  expect_close("other", planned.other, has.communication, 0.05);
  expect_close("activations", planned.activations, has.activations, 0.08);
  expect_close("all", planned.on_device(), has.on_device(), 0.05);
}

}  // namespace trident::testing
