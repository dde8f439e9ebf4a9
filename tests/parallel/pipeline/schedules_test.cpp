#include "parallel/pipeline/schedules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

#include "core/error.h"
#include "parallel/pipeline/lower.h"
#include "parallel/pipeline/memory.h"
#include "parallel/pipeline/simulate.h"
#include "parallel/pipeline/validate.h"
#include "tests/parallel/pipeline/every_schedule.h"

namespace trident::pipeline {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::Le;

std::string name_of(const ScheduleRequest& request) {
  return request.name + " p" + std::to_string(request.ranks) + " m" + std::to_string(request.microbatches) + " v" +
         std::to_string(request.virtual_stages);
}

// Valid before and after lowering, or refused with a reason and a way out.
TEST(Schedules, AllAreValidOrRefused) {
  int valid = 0, refused = 0;
  for (const auto& name : schedule_names())
    for (int p = 1; p <= 8; ++p)
      for (int m = 1; m <= 32; ++m)
        for (int v = 1; v <= 4; ++v) {
          const ScheduleRequest request{name, p, m, v};
          if (const auto refusal = refuse(request)) {
            ++refused;
            EXPECT_FALSE(refusal->reason.empty() || refusal->remedy.empty()) << name_of(request);
            EXPECT_THROW((void)make_schedule(request), Error) << name_of(request);
            continue;
          }
          ++valid;
          const Schedule schedule = make_schedule(request);
          EXPECT_EQ(schedule.stages(), p * schedule.virtual_stages);
          EXPECT_TRUE(validate(schedule).empty()) << name_of(request) << '\n' << to_text(schedule);
          const Schedule lowered = lower(schedule, {.tied_embedding = true});
          const auto problems = validate(lowered);
          EXPECT_TRUE(problems.empty()) << name_of(request) << ": " << to_string(problems.front());
        }
  EXPECT_EQ(valid + refused, 5 * 8 * 32 * 4);
  // One virtual stage for all but zb-v, which takes 1 and 2, and interleaved with 2 to 4 where m >= p.
  EXPECT_EQ(valid, 8 * 32 * 6 + 3 * (8 * 32 - 28));
}

TEST(Schedules, MemoryIsWhatTheirAuthorsSay) {
  for (int p = 1; p <= 12; ++p)
    for (int m = 1; m <= 40; ++m) {
      EXPECT_THAT(peak_live(gpipe(p, m)), Each(m));
      for (int rank = 0; rank < p; ++rank)
        EXPECT_EQ(peak_live(one_f_one_b(p, m))[static_cast<size_t>(rank)], std::min(p - rank, m));
      EXPECT_THAT(peak_live(zb_h1(p, m)), Each(Le(p)));
      EXPECT_THAT(peak_live(zb_v(p, m)), Each(Le(2 * p)));
      if (m >= 2 * p) {
        EXPECT_THAT(peak_live(zb_h1(p, m)), Each(p));
        EXPECT_THAT(peak_live(zb_v(p, m)), Each(2 * p));
      }
      for (int v = 2; v <= 4; ++v)
        if (m % p == 0 && m > p && p > 1) {
          EXPECT_EQ(peak_live(interleaved(p, v, m))[0], p * v + p - 1);
        }
    }
}

// A forward and its backward on all stages in turn bound any schedule; with one microbatch nothing else happens.
TEST(Schedules, OneMicrobatchPassesStagesInTurn) {
  for (int p = 1; p <= 9; ++p) {
    for (const char* name : {"gpipe", "1f1b"})
      EXPECT_DOUBLE_EQ(simulate(lower(make_schedule({name, p, 1, 0}))).makespan, 3 * p) << name << p;
    EXPECT_DOUBLE_EQ(simulate(lower(zb_h1(p, 1))).makespan, 2 * p + 1);  // only the last weight gradient shows
    EXPECT_LE(simulate(lower(zb_v(p, 1))).makespan, 4 * p + 2);
  }
}

TEST(Schedules, InterleavingNeedsAFullGroup) {
  const auto refusal = refuse({"interleaved", 8, 7, 2});
  ASSERT_TRUE(refusal);
  EXPECT_THAT(refusal->reason, AllOf(HasSubstr("8 ranks"), HasSubstr("7")));
  EXPECT_THAT(refusal->remedy, AllOf(HasSubstr("8 microbatches"), HasSubstr("7 ranks"), HasSubstr("1f1b")));
  EXPECT_FALSE(refuse({"interleaved", 8, 8, 2}));
  EXPECT_FALSE(refuse({"interleaved", 8, 9, 2}));
  EXPECT_FALSE(refuse({"interleaved", 8, 7, 1})) << "one stage per rank is 1F1B";
}

// Microbatches that the ranks do not divide may cost some memory and never much time.
TEST(Schedules, UnevenInterleavingStaysNearTheEvenOne) {
  for (int p = 2; p <= 8; ++p)
    for (int m = p; m <= 64; ++m)
      for (int v = 2; v <= 4; ++v) {
        const Simulation simulation = simulate(lower(interleaved(p, v, m)));
        EXPECT_LE(simulation.makespan, 3 * m * v + 3 * (p - 1) + 1e-9) << p << ' ' << v << ' ' << m;
        const int longest_group = m / (m / p) + (m % (m / p) != 0 ? 1 : 0);
        EXPECT_LE(simulation.peak_live[0], 2 * (p - 1) + (v - 1) * longest_group + 1) << p << ' ' << v << ' ' << m;
      }
}

TEST(Schedules, NamesAndNumbersAreChecked) {
  EXPECT_THAT(refuse({"1f1", 2, 2, 1})->remedy, HasSubstr("1f1b"));
  EXPECT_THAT(refuse({"zb-v", 2, 2, 3})->reason, HasSubstr("exactly two"));
  EXPECT_THAT(refuse({"gpipe", 2, 2, 2})->remedy, HasSubstr("interleaved"));
  EXPECT_EQ(make_schedule({"zb-v", 2, 2, 0}).virtual_stages, 2);
  EXPECT_EQ(make_schedule({"interleaved", 2, 2, 0}).virtual_stages, 2);
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max(), kLow = std::numeric_limits<int64_t>::min();
  for (const auto& name : schedule_names())
    for (const int64_t a : {kLow, int64_t{-1}, int64_t{0}, kHuge, kMaxStages}) {
      EXPECT_TRUE(refuse({name, a, 4, 0})) << name << a;
      EXPECT_TRUE(refuse({name, 4, a > 0 ? a * (a < kHuge ? 1'000'000 : 1) : a, 0})) << name << a;
      if (a != 0) {
        EXPECT_TRUE(refuse({name, 4, 4, a})) << name << a;
      }
    }
}

// The largest that is allowed is made, lowered and timed; gtest's own limit would catch anything worse than linear.
TEST(Schedules, TheLargestAreQuick) {
  for (const ScheduleRequest& request : {ScheduleRequest{"1f1b", 1024, 256, 0},
                                         {"zb-v", 512, 256, 0},
                                         {"zb-v", kMaxRanks, 1, 0},
                                         {"interleaved", 64, 256, 8}}) {
    const Schedule lowered = lower(make_schedule(request));
    EXPECT_TRUE(validate(lowered).empty()) << name_of(request);
    EXPECT_GT(simulate(lowered).makespan, 0);
  }
}

TEST(Forwards, EveryStageSeesEveryMicrobatchOnceInOrderAndCanRun) {
  for (const Schedule& like : {gpipe(3, 2), interleaved(2, 3, 4), zb_v(3, 5)}) {
    for (const int32_t m : {1, 2, 7}) {
      const Schedule lowered = lower(forwards(like, m));  // throws where it cannot run
      std::map<int32_t, std::vector<int32_t>> seen;
      for (const auto& list : lowered.actions)
        for (const Action& action : list)
          if (is_compute(action.op)) seen[action.stage].push_back(action.microbatch);
      std::vector<int32_t> all(static_cast<size_t>(m));
      std::iota(all.begin(), all.end(), 0);
      ASSERT_EQ(seen.size(), like.rank_of_stage.size());
      for (const auto& [stage, microbatches] : seen) EXPECT_EQ(microbatches, all) << "stage " << stage;
    }
  }
}

}  // namespace
}  // namespace trident::pipeline
