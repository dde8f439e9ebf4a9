#include "plan/goodput.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"

namespace trident::plan::testing {
namespace {

// Llama 3 (2024): 466 interruptions in 54 days on 16384 accelerators.
GoodputJob llama_3() {
  GoodputJob job;
  job.accelerators = 16384;
  job.spare_nodes = 16;
  job.failures = {466.0 / (54 * 24 * 16384), 0.5, 4};
  job.step_s = 6.5;
  return job;
}

double all_kinds(const GoodputResult& r) {
  return r.effective + r.checkpoint + r.detection + r.restart + r.lost + r.degraded + r.waiting;
}

TEST(Goodput, WithoutFailuresOnlyCheckpointsTakeTime) {
  GoodputJob job;
  job.days = 1;
  job.checkpoint_interval_s = 999;
  job.checkpoint_cost_s = 1;
  const GoodputResult result = simulate_goodput(job);
  EXPECT_EQ(result.interruptions, 0);
  EXPECT_NEAR(result.goodput(), 0.999, 1e-4);
}

TEST(Goodput, TimesAddUp) {
  for (const uint64_t seed : {1, 2, 3, 4, 5}) {
    GoodputJob job = llama_3();
    job.seed = seed;
    job.spare_nodes = 0;
    const GoodputResult result = simulate_goodput(job);
    EXPECT_NEAR(all_kinds(result), result.total, 1e-6 * result.total);
  }
}

TEST(Goodput, TheSameSeedGivesTheSameRunAndAnotherAnother) {
  GoodputJob job = llama_3(), other = job;
  other.seed = 2;
  const GoodputResult a = simulate_goodput(job), b = simulate_goodput(job), c = simulate_goodput(other);
  EXPECT_EQ(a.effective, b.effective);
  EXPECT_EQ(a.interruptions, b.interruptions);
  EXPECT_NE(a.effective, c.effective);
}

TEST(Goodput, InterruptionsComeAtTheirRate) {
  double interruptions = 0;
  constexpr int kSeeds = 20;
  for (int seed = 0; seed < kSeeds; ++seed) {
    GoodputJob job = llama_3();
    job.seed = static_cast<uint64_t>(seed);
    interruptions += static_cast<double>(simulate_goodput(job).interruptions) / kSeeds;
  }
  // 466 less those that would fall into restarts; the mean's deviation is 466^½ / 20^½.
  EXPECT_NEAR(interruptions, 466, 5 * std::sqrt(466.0 / kSeeds) + 466 * 0.02);
}

TEST(Goodput, WhatCostsMoreLeavesLess) {
  const double base = simulate_goodput(llama_3()).goodput();
  GoodputJob slow = llama_3(), blind = llama_3(), forgetful = llama_3(), larger = llama_3();
  slow.restart_s = 600;
  blind.detection_s = 600;
  forgetful.snapshots_in_memory = false;
  forgetful.checkpoint_interval_s = 3600;
  larger.accelerators = 100'000;
  for (const GoodputJob& job : {slow, blind, forgetful, larger}) EXPECT_LT(simulate_goodput(job).goodput(), base);
}

TEST(Goodput, SparesAndElasticityReplaceWaiting) {
  GoodputJob spares = llama_3(), elastic = llama_3(), rigid = llama_3();
  elastic.spare_nodes = rigid.spare_nodes = 0;
  rigid.elastic = false;
  const GoodputResult a = simulate_goodput(spares), b = simulate_goodput(elastic), c = simulate_goodput(rigid);
  EXPECT_GT(a.goodput(), b.goodput());
  EXPECT_GT(b.goodput(), c.goodput());
  EXPECT_EQ(a.waiting, 0);
  EXPECT_GT(b.degraded, 0);
  EXPECT_GT(c.waiting, 0);
}

// Young's formula is the limit for cheap checkpoints, and no other interval does clearly better.
TEST(Goodput, TheRecommendedIntervalIsNearTheBest) {
  EXPECT_NEAR(recommended_interval(1, 1e8), std::sqrt(2e8), 0.01 * std::sqrt(2e8));
  GoodputJob job = llama_3();
  job.snapshots_in_memory = false;
  job.checkpoint_cost_s = 30;
  const auto mean_of = [&](double interval) {
    double sum = 0;
    for (uint64_t seed = 1; seed <= 10; ++seed) {
      job.checkpoint_interval_s = interval;
      job.seed = seed;
      sum += simulate_goodput(job).goodput() / 10;
    }
    return sum;
  };
  const double recommended = recommended_interval(30, mean_time_between(job)), best = mean_of(recommended);
  for (const double factor : {0.2, 0.5, 2.0, 5.0}) EXPECT_LT(mean_of(recommended * factor), best + 0.002) << factor;
}

TEST(Goodput, CheckpointsThatCostNothingComeAfterEveryStep) {
  GoodputJob job = llama_3();
  job.checkpoint_cost_s = 0;
  const GoodputResult result = simulate_goodput(job);
  EXPECT_DOUBLE_EQ(result.checkpoint_interval_s, job.step_s);
  EXPECT_EQ(result.checkpoint, 0);
}

TEST(Goodput, WhatHasNoEndOrNoBeginningIsRefused) {
  GoodputJob forever = llama_3(), never = llama_3(), still = llama_3();
  forever.days = 1e9;
  never.days = 0;
  still.step_s = 0;
  for (const GoodputJob& job : {forever, never, still}) EXPECT_THROW((void)simulate_goodput(job), Error);
}

TEST(Goodput, FromOneAcceleratorToAHundredThousand) {
  double before = 1.01;
  for (const int64_t accelerators : {1, 100, 10'000, 100'000}) {
    GoodputJob job = llama_3();
    job.accelerators = accelerators;
    job.spare_nodes = std::max<int64_t>(1, accelerators / 500);
    const double goodput = simulate_goodput(job).goodput();
    EXPECT_GT(goodput, 0.3);
    EXPECT_LE(goodput, before);
    before = goodput;
  }
}

}  // namespace
}  // namespace trident::plan::testing
