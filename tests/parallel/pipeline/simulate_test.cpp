#include "parallel/pipeline/simulate.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "parallel/pipeline/lower.h"
#include "parallel/pipeline/memory.h"
#include "parallel/pipeline/schedules.h"
#include "tests/parallel/pipeline/every_schedule.h"

namespace trident::pipeline {
namespace {

Simulation timed(const Schedule& schedule, StageCost cost = {}, double transfer = 0,
                 CommQueues queues = CommQueues::per_edge) {
  return simulate(lower(schedule), {{cost}, transfer, queues});
}

// Profiled milliseconds and bubble rates of the zero-bubble paper (Qi et al. 2024, tables 5 and 6).
struct PaperRow {
  int p, m;
  double forward, input, weight, comm;
  double one_f_one_b, interleaved, zb_h1;
};
constexpr PaperRow kPaper[] = {{8, 24, 18.522, 18.086, 9.337, .601, .2431, .1055, .1585},
                               {8, 32, 18.513, 18.086, 9.331, .626, .1985, .0818, .1242},
                               {8, 64, 18.546, 18.097, 9.321, .762, .1240, .0443, .0674},
                               {16, 48, 11.347, 11.248, 8.132, .377, .2552, .1104, .1397},
                               {16, 64, 11.307, 11.254, 8.101, .379, .2082, .0852, .1088},
                               {16, 128, 11.325, 11.308, 8.109, .378, .1251, .0445, .0576}};

TEST(Simulate, ReproducesTheZeroBubblePaper) {
  for (const PaperRow& row : kPaper) {
    const StageCost cost{row.forward, row.input, row.weight};
    EXPECT_NEAR(timed(one_f_one_b(row.p, row.m), cost, row.comm).bubble_ratio_stage_span, row.one_f_one_b, 5.1e-5);
    EXPECT_NEAR(timed(zb_h1(row.p, row.m), cost, row.comm).bubble_ratio_stage_span, row.zb_h1, 5.1e-5);
    const StageCost third{row.forward / 3, row.input / 3, row.weight / 3};
    const double ratio = timed(interleaved(row.p, 3, row.m), third, row.comm).bubble_ratio_stage_span;
    EXPECT_LE(std::abs(ratio - row.interleaved) / ratio, 0.04) << row.p << ' ' << row.m << ' ' << ratio;
  }
}

TEST(Simulate, BubblesAreTheFormulas) {
  const StageCost cost{2, 1.75, 1.25};
  for (int p = 1; p <= 8; ++p)
    for (int m = p; m <= 24; ++m) {
      const double work = m * cost.total(), whole = (p - 1) * cost.total();
      EXPECT_NEAR(timed(gpipe(p, m), cost).makespan, work + whole, 1e-9);
      EXPECT_NEAR(timed(one_f_one_b(p, m), cost).makespan, work + whole, 1e-9);
      const Simulation h1 = timed(zb_h1(p, m), cost);
      EXPECT_NEAR(h1.bubble_ratio_stage_span * work / (1 - h1.bubble_ratio_stage_span),
                  (p - 1) * (cost.forward + cost.input - cost.weight), 1e-9)
          << p << ' ' << m;
      for (int v = 2; v <= 4; ++v)
        if (m % p == 0) {
          EXPECT_NEAR(timed(interleaved(p, v, m), cost).makespan, v * work + whole, 1e-9);
        }
    }
}

TEST(Simulate, ZeroBubbleVHasNone) {
  for (int p = 1; p <= 12; ++p)
    for (const int m : {2 * p - 1, 2 * p, 3 * p + 1, 50})
      EXPECT_NEAR(timed(zb_v(p, m)).bubble_ratio_stage_span, 0, 1e-12) << p << ' ' << m;
}

TEST(Simulate, KnownRatios) {
  EXPECT_DOUBLE_EQ(timed(gpipe(4, 8)).bubble_ratio, 3.0 / 11);
  EXPECT_DOUBLE_EQ(timed(one_f_one_b(4, 8)).bubble_ratio, 3.0 / 11);
  EXPECT_DOUBLE_EQ(timed(zb_h1(4, 8)).bubble_ratio, 1.0 / 9);
  const auto bubble = [](const Schedule& schedule, CommQueues queues) {
    return timed(schedule, {}, 0.1, queues).bubble_ratio;
  };
  EXPECT_NEAR(bubble(one_f_one_b(4, 8), CommQueues::per_edge), .306, 5e-4);
  EXPECT_NEAR(bubble(one_f_one_b(4, 8), CommQueues::per_rank), .310, 5e-4);
  EXPECT_NEAR(bubble(interleaved(4, 2, 8), CommQueues::per_edge), .178, 5e-4);
  EXPECT_NEAR(bubble(zb_h1(4, 8), CommQueues::per_edge), bubble(zb_h1(4, 8), CommQueues::per_rank), 1e-12);
}

// Nothing overlaps on a rank or in a queue, nothing starts before its inputs, and all work is done.
TEST(Simulate, TimelinesAreConsistent) {
  const StageCost cost{1.3, 1.1, 0.7};
  for (const ScheduleRequest& request : legal_requests(5, 10)) {
    const Schedule schedule = make_schedule(request);
    const Simulation simulation = timed(schedule, cost, 0.2);
    double busy = 0;
    for (size_t rank = 0; rank < simulation.compute.size(); ++rank) {
      ASSERT_EQ(simulation.compute[rank].size(), schedule.actions[rank].size());
      double free = 0;
      for (const TimedAction& action : simulation.compute[rank]) {
        EXPECT_GE(action.start, free);
        EXPECT_LE(action.end, simulation.makespan);
        free = action.end;
        busy += action.end - action.start;
      }
    }
    EXPECT_NEAR(busy, schedule.stages() * schedule.microbatches * cost.total(), 1e-9);
    EXPECT_NEAR(simulation.bubble_ratio, 1 - busy / (schedule.ranks * simulation.makespan), 1e-12);
    EXPECT_LE(simulation.bubble_ratio_stage_span, simulation.bubble_ratio + 1e-12);
    for (const Transfer& transfer : simulation.transfers) EXPECT_NEAR(transfer.end - transfer.start, 0.2, 1e-12);
  }
}

TEST(Simulate, DearerCommunicationIsNeverFaster) {
  for (const ScheduleRequest& request : legal_requests(4, 9)) {
    const Schedule lowered = lower(make_schedule(request));
    double before = 0;
    for (const double transfer : {0.0, 0.1, 0.5, 2.0}) {
      const double edges = simulate(lowered, {{StageCost{}}, transfer, CommQueues::per_edge}).makespan;
      const double one = simulate(lowered, {{StageCost{}}, transfer, CommQueues::per_rank}).makespan;
      EXPECT_GE(edges, before);
      EXPECT_GE(one, edges - 1e-9);
      before = edges;
    }
  }
}

TEST(Simulate, TheDearestStageSetsThePace) {
  SimulationCosts costs{{{1, 1, 1}, {1, 1, 1}, {2, 2, 2}, {1, 1, 1}}, 0, CommQueues::per_edge};
  const Simulation simulation = simulate(lower(one_f_one_b(4, 100)), costs);
  EXPECT_GE(simulation.makespan, 600);
  EXPECT_LE(simulation.makespan, 600 + 3 * 3 + 6);
  EXPECT_NEAR(simulation.bubble_ratio, 1 - (300 + 300 + 600 + 300) / 4.0 / simulation.makespan, 1e-12);
}

TEST(Simulate, DeferredWeightGradientsHoldMemory) {
  const std::vector<int32_t> live = peak_live(zb_h1(4, 8));
  EXPECT_EQ(live, (std::vector<int32_t>{4, 4, 4, 4}));
  // Where W needs only half of what was saved, the last rank, which defers three, has 1 + 3/2.
  const SavedSize half{1, 0.5};
  EXPECT_DOUBLE_EQ(peak_memory(zb_h1(4, 8), {&half, 1})[3], 2.5);
  EXPECT_DOUBLE_EQ(peak_memory(zb_h1(4, 8), {&half, 1})[0], 4);
}

TEST(Simulate, RefusesWhatCannotComplete) {
  Schedule lowered = lower(one_f_one_b(2, 2));
  auto& list = lowered.actions[1];
  list.erase(std::find(list.begin(), list.end(), Action{1, Op::recv_forward, 1}));
  EXPECT_THROW((void)simulate(lowered), Error);
  EXPECT_THROW((void)simulate(one_f_one_b(2, 2)), Error);
  EXPECT_THROW((void)simulate(lower(one_f_one_b(3, 2)), {{StageCost{}, StageCost{}}}), Error);
}

}  // namespace
}  // namespace trident::pipeline
