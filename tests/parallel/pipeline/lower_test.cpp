#include "parallel/pipeline/lower.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "parallel/pipeline/schedules.h"
#include "parallel/pipeline/validate.h"
#include "tests/parallel/pipeline/every_schedule.h"

namespace trident::pipeline {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<Action> without_communication(const std::vector<Action>& list) {
  std::vector<Action> compute;
  std::copy_if(list.begin(), list.end(), std::back_inserter(compute), [](const Action& a) { return is_compute(a.op); });
  return compute;
}

TEST(Lower, KeepsComputationAndAddsOnePairPerCrossing) {
  for (const ScheduleRequest& request : legal_requests(5, 12)) {
    const Schedule schedule = make_schedule(request), lowered = lower(schedule);
    int64_t sends = 0, receives = 0, crossings = 0;
    for (size_t rank = 0; rank < schedule.actions.size(); ++rank) {
      EXPECT_EQ(without_communication(lowered.actions[rank]), schedule.actions[rank]);
      for (const Action& action : lowered.actions[rank]) {
        sends += is_send(action.op) ? 1 : 0;
        receives += is_recv(action.op) ? 1 : 0;
      }
    }
    for (int32_t stage = 1; stage < schedule.stages(); ++stage)
      crossings += schedule.rank_of(stage) != schedule.rank_of(stage - 1) ? 1 : 0;
    EXPECT_EQ(sends, 2 * crossings * schedule.microbatches);
    EXPECT_EQ(receives, sends);
  }
}

TEST(Lower, StagesOnOneRankHandOverSilently) {
  const Schedule lowered = lower(zb_v(3, 4));
  for (const auto& list : lowered.actions)
    for (const Action& action : list) {
      EXPECT_NE(action.stage == 2 && action.op == Op::send_forward, true);
      EXPECT_NE(action.stage == 3 && action.op == Op::recv_forward, true);
    }
}

TEST(Lower, TiedEmbeddingsAreReducedByBothEnds) {
  const Schedule lowered = lower(one_f_one_b(3, 2), {.tied_embedding = true});
  const auto tail = [&](size_t rank) {
    const auto& list = lowered.actions[rank];
    const auto first = std::find_if(list.begin(), list.end(), [](const Action& a) { return is_reduce(a.op); });
    return std::vector<Action>(first, list.end());
  };
  EXPECT_THAT(tail(0), ElementsAre(Action{0, Op::reduce_tied, -1}));
  EXPECT_THAT(tail(1), IsEmpty());
  EXPECT_THAT(tail(2), ElementsAre(Action{2, Op::reduce_tied, -1}));
}

TEST(Lower, TiedEmbeddingsOnOneRankNeedOneSum) {
  for (const Schedule& schedule : {zb_v(2, 3), interleaved(1, 3, 2)}) {
    const Schedule lowered = lower(schedule, {.tied_embedding = true});
    int tied = 0;
    for (const auto& list : lowered.actions)
      for (const Action& action : list) tied += action.op == Op::reduce_tied ? 1 : 0;
    EXPECT_EQ(tied, 1) << schedule.name;
    EXPECT_THAT(validate(lowered), IsEmpty());
  }
  const Schedule single = lower(one_f_one_b(1, 2), {.tied_embedding = true});
  EXPECT_EQ(single.actions, one_f_one_b(1, 2).actions) << "one stage has one copy";
}

TEST(Lower, NamesTheActionThatWaitsForEver) {
  Schedule schedule = one_f_one_b(2, 2);
  std::swap(schedule.actions[1][0], schedule.actions[1][1]);  // backward before forward
  try {
    (void)lower(schedule);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(std::string(error.what()), testing::HasSubstr("rank 0 waits for ever at 0B0"));
  }
}

// Receives just before their use and blocking sends just after: that is what the walk over all ranks is there to avoid.
TEST(Lower, LocalPlacementWouldDeadlock) {
  Schedule schedule = one_f_one_b(4, 8);
  for (auto& list : schedule.actions) {
    std::vector<Action> local;
    for (const Action& action : list) {
      const bool forward = action.op == Op::forward;
      const Action receive{action.stage, forward ? Op::recv_forward : Op::recv_backward, action.microbatch};
      const Action send{action.stage, forward ? Op::send_forward : Op::send_backward, action.microbatch};
      if (forward ? action.stage > 0 : action.stage < 3) local.push_back(receive);
      local.push_back(action);
      if (forward ? action.stage < 3 : action.stage > 0) local.push_back(send);
    }
    list = local;
  }
  schedule.lowered = true;
  const auto problems = validate(schedule);
  ASSERT_FALSE(problems.empty());
  for (const Problem& problem : problems) EXPECT_EQ(problem.kind, ProblemKind::deadlock) << to_string(problem);
}

}  // namespace
}  // namespace trident::pipeline
