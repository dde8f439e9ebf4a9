// The crowning test: however a job lies on its ranks, it is the same training.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "parallel/comm/device_mesh.h"
#include "tests/train/layout_runs.h"

namespace trident::testing {
namespace {

// Sanitizers make everything slow, and look for other faults: they see a part of the runs.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

constexpr double kFp64Tolerance = 1e-10, kFp32Tolerance = 2e-5;

// All schedules, virtual stages, uneven data parallelism, sequence parallelism, both ZeRO stages, recompute, tied and
// untied heads, grouped queries, both families; up to eight ranks.
std::vector<LayoutRun> chosen_runs() {
  std::vector<LayoutRun> runs;
  const auto add = [&](LayoutRun run) { runs.push_back(std::move(run)); };
  for (const Family family : {Family::llama_gqa, Family::llama_tied, Family::gpt2_tied}) {
    for (const char* schedule : {"gpipe", "1f1b", "zb-h1", "zb-v", "interleaved"}) {
      add(run_of(family, layout_of({1, 1, 2}, schedule), 4));
      add(run_of(family, layout_of({2, 2, 2}, schedule), 8));
    }
    add(run_of(family, layout_of({1, 1, 4}, "1f1b"), 5));
    add(run_of(family, layout_of({1, 1, 4}, "zb-h1"), 3));
    add(run_of(family, layout_of({1, 1, 1}, "zb-v"), 2));
    add(run_of(family, layout_of({1, 2, 2}, "interleaved", 2), 6));
    for (const int dp : {2, 3, 5, 7}) add(run_of(family, layout_of({dp, 1, 1}), 7));  // 7 is divided unevenly
    for (const int tp : {2, 4}) {
      for (const bool sequence : {false, true}) {
        JobLayout layout = layout_of({1, tp, 1});
        layout.sequence_parallel = sequence;
        add(run_of(family, layout, 4, 2));
        layout.mesh.dp = layout.logical_shards = 2;
        add(run_of(family, layout, 7, 2));  // a short last microbatch
      }
    }
    for (const Recompute recompute : {Recompute::selective, Recompute::full}) {
      LayoutRun run = run_of(family, layout_of({2, 2, 2}, "zb-h1"), 9, 2);
      run.recompute = recompute;
      run.layout.sequence_parallel = true;
      run.layout.zero_stage = ZeroStage::replicated;
      add(run);
    }
    JobLayout fast = layout_of({4, 1, 2}, "1f1b");
    fast.reduction = ReductionKind::fast;
    add(run_of(family, fast, 9));
    JobLayout shards = layout_of({2, 1, 2}, "1f1b");
    shards.logical_shards = 5;
    add(run_of(family, shards, 11));
  }
  LayoutRun uneven = run_of(Family::gpt2_tied, layout_of({1, 1, 3}, "1f1b"), 4);
  uneven.layout.layers_per_stage = {2, 1, 1};
  add(uneven);
  JobLayout order = layout_of({2, 2, 2}, "gpipe");
  order.order = {Axis::pp, Axis::dp, Axis::tp};
  add(run_of(Family::llama_gqa, order, 6));
  if (!kSanitized) return runs;
  std::vector<LayoutRun> part;
  for (size_t i = 0; i < runs.size(); i += 4) part.push_back(runs[i]);
  return part;
}

class Layouts : public ::testing::TestWithParam<LayoutRun> {};

TEST_P(Layouts, TrainsAsOneRankDoesInFp64) {
  const LayoutRun& run = GetParam();
  EXPECT_EQ(difference(train(serial(run)), train(run), kFp64Tolerance), "") << run.to_string();
}

TEST_P(Layouts, TrainsAsOneRankDoesInFp32) {
  LayoutRun run = GetParam();
  run.compute = DType::fp32;
  EXPECT_EQ(difference(train(serial(run)), train(run), kFp32Tolerance), "") << run.to_string();
}

std::string name_of(const ::testing::TestParamInfo<LayoutRun>& info) {
  const LayoutRun& run = info.param;
  std::string name = fmt::format("{}_{}_dp{}_tp{}_pp{}_{}", info.index, to_string(run.model.architecture),
                                 run.layout.mesh.dp, run.layout.mesh.tp, run.layout.mesh.pp, run.layout.schedule.name);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Chosen, Layouts, ::testing::ValuesIn(chosen_runs()), name_of);

// ---- layouts drawn at random

int pick(const RandomStream& random, uint64_t& draw, int count) {
  return static_cast<int>(random.uniform(draw++) * static_cast<double>(count));
}

/// Nothing where the drawn numbers make no legal job.
std::optional<LayoutRun> draw_run(uint64_t number) {
  const RandomStream random(number, "layout");
  uint64_t draw = 0;
  const auto family = static_cast<Family>(pick(random, draw, 3));
  const char* schedules[] = {"gpipe", "1f1b", "interleaved", "zb-h1", "zb-v"};
  const int tps[] = {1, 1, 2, 4};
  JobLayout layout = layout_of({1 + pick(random, draw, 5), tps[pick(random, draw, 4)], 1 + pick(random, draw, 4)},
                               schedules[pick(random, draw, 5)]);
  if (layout.schedule.name == "interleaved") layout.schedule.virtual_stages = 1 + pick(random, draw, 3);
  layout.logical_shards = layout.mesh.dp + pick(random, draw, 3);
  layout.sequence_parallel = pick(random, draw, 2) == 1;
  layout.zero_stage = static_cast<ZeroStage>(pick(random, draw, 2));
  LayoutRun run = run_of(family, layout, 2 + pick(random, draw, 11), 1 + pick(random, draw, 2));
  run.model.num_hidden_layers = 2 + pick(random, draw, 5);
  run.recompute = static_cast<Recompute>(pick(random, draw, 3));
  run.sequence_length = 4 + 4 * pick(random, draw, 2);
  run.steps = 3;
  return run;
}

bool legal(const LayoutRun& run) {
  const JobLayout& layout = run.layout;
  const int64_t stages = layout.mesh.pp * stages_per_rank(layout.schedule);
  const int64_t microbatches = (run.global_batch_size + run.micro_batch_size - 1) / run.micro_batch_size;
  if (layout.mesh.ranks() > 8 || stages > run.model.num_hidden_layers) return false;
  if (layout.logical_shards > microbatches || layout.logical_shards < layout.mesh.dp) return false;
  if (run.micro_batch_size * run.sequence_length % layout.mesh.tp != 0) return false;
  for (int dp = 0; dp < layout.mesh.dp; ++dp) {
    pipeline::ScheduleRequest request = layout.schedule;
    request.ranks = layout.mesh.pp;
    request.microbatches = run.options().layout.share(dp).microbatches;
    if (refuse(request)) return false;
  }
  return true;
}

std::string failure_of(const LayoutRun& run) { return difference(train(serial(run)), train(run), kFp64Tolerance); }

/// Simpler runs that are one step away.
std::vector<LayoutRun> simpler(const LayoutRun& run) {
  std::vector<LayoutRun> all;
  const auto change = [&](auto edit) {
    LayoutRun changed = run;
    edit(changed);
    if (changed.to_string() != run.to_string() && legal(changed)) all.push_back(std::move(changed));
  };
  change([](LayoutRun& r) { r.layout.mesh.dp = 1; });
  change([](LayoutRun& r) { r.layout.mesh.tp = 1; });
  change([](LayoutRun& r) { r.layout.mesh.pp = std::max(1, r.layout.mesh.pp - 1); });
  change([](LayoutRun& r) { r.layout.logical_shards = r.layout.mesh.dp; });
  change([](LayoutRun& r) { r.layout.schedule = {"1f1b"}; });
  change([](LayoutRun& r) { r.layout.sequence_parallel = false; });
  change([](LayoutRun& r) { r.layout.zero_stage = ZeroStage::replicated; });
  change([](LayoutRun& r) { r.recompute = Recompute::none; });
  change([](LayoutRun& r) { r.micro_batch_size = 1; });
  change([](LayoutRun& r) { r.global_batch_size = std::max<int64_t>(1, r.global_batch_size - 1); });
  change([](LayoutRun& r) { r.model.num_hidden_layers = std::max<int64_t>(1, r.model.num_hidden_layers - 1); });
  change([](LayoutRun& r) { r.model = layouts_model(Family::llama_gqa, r.model.num_hidden_layers); });
  return all;
}

LayoutRun shrink(LayoutRun failing) {
  for (bool again = true; again;) {
    again = false;
    for (const LayoutRun& candidate : simpler(failing)) {
      if (failure_of(candidate).empty()) continue;
      failing = candidate;
      again = true;
      break;
    }
  }
  return failing;
}

TEST(DrawnLayouts, TrainAsOneRankDoes) {
  const bool more = std::getenv("TRIDENT_LONG_TESTS") != nullptr;
  const int wanted = more ? 400 : kSanitized ? 6 : 24;
  int done = 0;
  for (uint64_t number = 1; done < wanted; ++number) {
    const auto run = draw_run(number);
    if (!run || !legal(*run)) continue;
    ++done;
    if (failure_of(*run).empty()) continue;
    const LayoutRun smallest = shrink(*run);
    FAIL() << "drawn " << number << ": " << run->to_string() << "\nsmallest: " << smallest.to_string() << "\n"
           << failure_of(smallest);
  }
}

// ---- bits

class ExactBits : public ::testing::TestWithParam<std::tuple<Family, DType, int>> {};

// With the number of logical shards and tp fixed, neither dp nor pp nor the schedule changes a bit.
TEST_P(ExactBits, AreTheSameForEveryWidthPipelineAndSchedule) {
  const Family family = std::get<0>(GetParam());
  const DType compute = std::get<1>(GetParam());
  const int tp = std::get<2>(GetParam());
  const auto with = [&](int dp, int pp, const std::string& schedule, int64_t virtual_stages = 0) {
    JobLayout layout = layout_of({dp, tp, pp}, schedule, virtual_stages);
    layout.logical_shards = 8;
    layout.sequence_parallel = true;
    LayoutRun run = run_of(family, layout, 19, 1);
    run.sequence_length = 4;
    run.compute = compute;
    run.steps = kSanitized ? 3 : 20;
    return run;
  };
  const LayoutOutcome expected = train(with(1, 1, "1f1b"));
  const auto same = [&](const LayoutRun& run) { EXPECT_EQ(difference(expected, train(run)), "") << run.to_string(); };
  for (const int dp : {2, 3, 4, 5, 8})
    if (dp * tp <= 8) same(with(dp, 1, "1f1b"));
  for (const int pp : {2, 3, 4})
    if (pp * tp <= 8) same(with(1, pp, "1f1b"));
  for (const char* schedule : {"gpipe", "zb-h1", "zb-v", "interleaved"}) same(with(1, 2, schedule));
  same(with(1, 1, "zb-v"));
  same(with(3, 2, "zb-h1"));
  same(with(2, 2, "zb-v"));
  same(with(2, 2, "interleaved", 2));
}

INSTANTIATE_TEST_SUITE_P(Fp32, ExactBits,
                         ::testing::Combine(::testing::Values(Family::llama_gqa, Family::llama_tied, Family::gpt2_tied),
                                            ::testing::Values(DType::fp32), ::testing::Values(1)));
INSTANTIATE_TEST_SUITE_P(Bf16, ExactBits,
                         ::testing::Combine(::testing::Values(Family::llama_gqa, Family::gpt2_tied),
                                            ::testing::Values(DType::bf16), ::testing::Values(1)));
INSTANTIATE_TEST_SUITE_P(TwoTensorParallelRanks, ExactBits,
                         ::testing::Combine(::testing::Values(Family::llama_tied), ::testing::Values(DType::fp32),
                                            ::testing::Values(2)));

TEST(FastReduction, MayChangeBitsWithTheNumberOfRanks) {
  const auto with = [](ReductionKind kind, int dp) {
    LayoutRun run = run_of(Family::llama_gqa, layout_of({dp, 1, 1}), 12);
    run.compute = DType::fp32;
    run.layout.reduction = kind;
    run.layout.logical_shards = kind == ReductionKind::exact ? 4 : dp;
    return train(run);
  };
  EXPECT_EQ(difference(with(ReductionKind::exact, 4), with(ReductionKind::exact, 2)), "");
  EXPECT_NE(difference(with(ReductionKind::fast, 4), with(ReductionKind::fast, 2)), "");
}

}  // namespace
}  // namespace trident::testing
