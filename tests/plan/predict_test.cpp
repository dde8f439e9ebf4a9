#include "plan/predict.h"

#include <gtest/gtest.h>

#include "tests/plan/jobs.h"

namespace trident::plan::testing {
namespace {

Layout layout(int64_t dp, int64_t tp, int64_t pp) {
  Layout result;
  result.dp = dp, result.tp = tp, result.pp = pp;
  return result;
}

double step(const Workload& work, const Layout& layout, const ClusterSpec& spec) {
  EXPECT_EQ(impossible(work, layout), std::nullopt) << layout.to_string();
  return predict(work, layout, spec).step_s;
}

TEST(Predict, MoreWorkTakesLonger) {
  const Workload work = workload(large_model(), 2048, 64);
  Workload longer = work, deeper = work, more = work;
  longer.sequence_length *= 2;
  deeper.model.num_hidden_layers += 8;
  more.global_batch_size *= 2;
  for (const Layout& at : {layout(8, 1, 1), layout(2, 4, 1), layout(1, 2, 4)}) {
    const double base = step(work, at, cluster());
    for (const Workload& harder : {longer, deeper, more}) EXPECT_GT(step(harder, at, cluster()), base);
    EXPECT_LT(step(more, at, cluster()), 2.001 * base);
  }
}

TEST(Predict, ABetterMachineIsNeverSlower) {
  const Workload work = workload(large_model(), 2048, 64);
  for (const Layout& at : {layout(16, 1, 1), layout(4, 8, 1), layout(2, 4, 4)}) {
    const double base = step(work, at, cluster());
    ClusterSpec faster = cluster(), wider = cluster(), linked = cluster(), connected = cluster();
    faster.peak_bf16 *= 2;
    wider.memory_bandwidth *= 2;
    linked.inside.bandwidth *= 2;
    connected.between.bandwidth *= 2;
    EXPECT_LT(step(work, at, faster), base);
    EXPECT_LT(step(work, at, wider), base);
    EXPECT_LE(step(work, at, linked), base);
    EXPECT_LE(step(work, at, connected), base);
  }
}

TEST(Predict, Fp8PaysByTheMachinesRate) {
  const Workload plain = workload(large_model(), 2048, 64);
  Workload in_fp8 = plain;
  in_fp8.linear = LinearPrecision::fp8;
  ClusterSpec with_rate = cluster();
  with_rate.peak_fp8 = 2 * with_rate.peak_bf16;
  const Layout at = layout(8, 1, 1);
  const double base = step(plain, at, with_rate), faster = step(in_fp8, at, with_rate);
  EXPECT_EQ(base, step(plain, at, cluster()));
  EXPECT_LT(faster, 0.85 * base);
  EXPECT_GT(faster, 0.5 * base);                 // the head and attention stay as they are
  EXPECT_GT(step(in_fp8, at, cluster()), base);  // without it there is only the rounding
  in_fp8.model.intermediate_size += 8;
  EXPECT_EQ(impossible(in_fp8, at), "fp8 needs multiples of 16: the inner columns of a rank are 11016");
  in_fp8.model.intermediate_size -= 8;
  in_fp8.sequence_length = 2040;
  EXPECT_EQ(impossible(in_fp8, at), "fp8 needs multiples of 16: a microbatch has 2040 tokens");
}

TEST(Predict, AnOversubscribedLevelSlowsWhatPassesIt) {
  const Workload work = workload(large_model(), 2048, 256);
  ClusterSpec narrow = cluster();
  narrow.levels = {{"rack", 32, 64}};
  EXPECT_GT(step(work, layout(64, 1, 1), narrow), step(work, layout(64, 1, 1), cluster()));
  EXPECT_EQ(step(work, layout(32, 1, 1), narrow), step(work, layout(32, 1, 1), cluster()));
}

TEST(Predict, RecomputationCostsTimeAndSavesMemory) {
  const Workload work = workload(large_model(), 2048, 64);
  Layout none = layout(8, 1, 1), selective = none, full = none;
  selective.recompute = Recompute::selective;
  full.recompute = Recompute::full;
  const LayoutPlan a = predict(work, none, cluster()), b = predict(work, selective, cluster()),
                   c = predict(work, full, cluster());
  EXPECT_LT(a.step_s, b.step_s);
  EXPECT_LT(b.step_s, c.step_s);
  EXPECT_GT(a.memory.activations, b.memory.activations);
  EXPECT_GT(b.memory.activations, c.memory.activations);
  // A third more computation, at most.
  EXPECT_LT(c.step_s, 1.35 * a.step_s);
}

TEST(Predict, BubblesShrinkWithMicrobatchesAndVirtualStages) {
  ModelConfig model = large_model();
  model.vocab_size = 512;  // stages of one length
  const Workload work = workload(model, 2048, 32), more = workload(model, 2048, 64);
  const Layout plain = layout(1, 2, 8);
  Layout interleaved = plain;
  interleaved.schedule = "interleaved";
  interleaved.virtual_stages = 4;
  const double bubble = predict(work, plain, cluster()).bubble_ratio;
  EXPECT_LT(predict(more, plain, cluster()).bubble_ratio, bubble);
  EXPECT_LT(predict(work, interleaved, cluster()).bubble_ratio, bubble);
  EXPECT_NEAR(bubble, 7.0 / 39, 0.02);
}

// A long schedule's period stands for its length.
TEST(Predict, LongSchedulesAreExtrapolatedExactlyEnough) {
  const Workload work = workload(large_model(), 2048, 256);
  for (const char* name : {"1f1b", "interleaved", "zb-h1", "zb-v"}) {
    Layout at = layout(1, 2, 4);
    at.schedule = name;
    at.virtual_stages = at.schedule == "1f1b" || at.schedule == "zb-h1" ? 1 : 2;
    const double whole = predict_pipeline(work, at, cluster()).simulation.makespan;
    const LayoutPlan plan = predict(work, at, cluster());
    EXPECT_NEAR(plan.step_s - plan.time.data_parallel - plan.time.optimizer, whole, 0.002 * whole) << name;
    const LayoutPlan closed = predict(work, at, cluster(), PipelineTime::closed_form);
    EXPECT_NEAR(closed.step_s, plan.step_s, 0.05 * plan.step_s) << name;
  }
}

TEST(Predict, TheNumbersOfAPlanAgree) {
  const Workload work = workload(large_model(), 2048, 64);
  const LayoutPlan plan = predict(work, layout(4, 2, 2), cluster());
  EXPECT_NEAR(plan.tokens_per_s_per_rank * 16 * plan.step_s, 64 * 2048, 1e-6 * 64 * 2048);
  EXPECT_NEAR(plan.tflops_per_rank * 1e12 / 312e12, plan.mfu, 1e-9);
  EXPECT_LT(plan.mfu_causal, plan.mfu);
  EXPECT_LT(plan.mfu, cluster().fitted.matmul);
  const TimeByKind& time = plan.time;
  EXPECT_NEAR(time.forward + time.backward + time.tensor_parallel + time.bubble + time.data_parallel + time.optimizer,
              plan.step_s, 1e-9);
}

ClusterSpec two_processors() {
  ClusterSpec spec = cluster(1);
  spec.shared = true;
  spec.overlap = false;
  spec.accelerators_per_node = 2;
  spec.peak_fp32 = 60e9;
  spec.memory_bandwidth = 10e9;
  spec.cache = 2 << 20;
  spec.element_rate = 5e9;
  return spec;
}

TEST(Predict, RanksThatShareProcessorsShareTheirTime) {
  const Workload work = workload(small_model(), 128, 16, DType::fp32);
  const auto of = [&](int64_t dp) {
    Layout at = layout(dp, 1, 1);
    at.micro_batch_size = 4;
    return step(work, at, two_processors());
  };
  const double one = of(1), two = of(2), four = of(4);
  EXPECT_NEAR(two, one, 0.15 * one);
  EXPECT_GE(four, two);
  EXPECT_LT(four, 1.3 * one);
}

// On two processors: one microbatch of everything leaves the cache, and products of a hundred rows have one block.
TEST(Predict, OfMicrobatchesOnProcessorsNeitherTheLargestNorTheSmallestIsFastest) {
  const Workload work = workload(small_model(), 128, 32, DType::fp32);
  ClusterSpec fast = two_processors();
  fast.peak_fp32 = 150e9;
  const auto of = [&](int64_t micro_batch) {
    Layout at = layout(1, 1, 1);
    at.micro_batch_size = micro_batch;
    return step(work, at, fast);
  };
  EXPECT_LT(1.02 * of(4), of(32));
  EXPECT_LT(1.1 * of(2), of(1));
}

TEST(Predict, WhatCannotRunHasAReason) {
  const Workload work = workload(small_model(), 128, 16);
  const auto reason = [&](const Layout& at) { return impossible(work, at).value_or(""); };
  EXPECT_NE(reason(layout(1, 3, 1)).find("num_attention_heads"), std::string::npos);
  EXPECT_NE(reason(layout(1, 1, 16)).find("num_hidden_layers"), std::string::npos);
  EXPECT_NE(reason(layout(32, 1, 1)).find("global_batch_size"), std::string::npos);
  Layout interleaved = layout(16, 1, 2);
  interleaved.schedule = "interleaved";
  interleaved.virtual_stages = 2;
  EXPECT_NE(reason(interleaved).find("microbatches"), std::string::npos);
  EXPECT_EQ(reason(layout(2, 2, 2)), "");
}

}  // namespace
}  // namespace trident::plan::testing
