#include "parallel/pipeline/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "core/error.h"
#include "parallel/pipeline/lower.h"
#include "parallel/pipeline/schedules.h"
#include "tests/parallel/pipeline/every_schedule.h"

namespace trident::pipeline {
namespace {

using testing::Contains;
using testing::Field;
using testing::IsEmpty;
using testing::Not;

auto finds(ProblemKind kind) { return Contains(Field(&Problem::kind, kind)); }

// One of each kind, small enough to try every place for a mutation.
std::vector<Schedule> samples() {
  return {gpipe(3, 3), one_f_one_b(4, 5), interleaved(2, 2, 4), interleaved(3, 2, 4), zb_h1(3, 5), zb_v(2, 4)};
}

std::vector<Schedule> lowered_samples() {
  std::vector<Schedule> lowered;
  for (const Schedule& schedule : samples()) lowered.push_back(lower(schedule, {.tied_embedding = true}));
  return lowered;
}

// Calls visit(mutant's list, index) with a fresh copy for every action that `chosen` accepts.
template <class Chosen, class Visit>
void for_each_action(const std::vector<Schedule>& schedules, Chosen chosen, Visit visit) {
  for (const Schedule& schedule : schedules)
    for (size_t rank = 0; rank < schedule.actions.size(); ++rank)
      for (size_t i = 0; i < schedule.actions[rank].size(); ++i) {
        if (!chosen(schedule.actions[rank][i])) continue;
        Schedule mutant = schedule;
        visit(mutant, rank, static_cast<std::ptrdiff_t>(i));
      }
}

TEST(Validate, EveryDroppedActionIsMissed) {
  for_each_action(
      lowered_samples(), [](const Action& action) { return !is_reduce(action.op); },
      [](Schedule& mutant, size_t rank, std::ptrdiff_t i) {
        auto& list = mutant.actions[rank];
        const Action dropped = list[static_cast<size_t>(i)];
        list.erase(list.begin() + i);
        const auto problems = validate(mutant);
        EXPECT_THAT(problems,
                    finds(is_compute(dropped.op) ? ProblemKind::missing_action : ProblemKind::missing_communication));
        if (!is_compute(dropped.op)) {
          EXPECT_THAT(problems, finds(ProblemKind::unmatched_order));
        }
      });
}

TEST(Validate, EveryRepeatedActionIsSeen) {
  for_each_action(
      lowered_samples(), [](const Action&) { return true; },
      [](Schedule& mutant, size_t rank, std::ptrdiff_t i) {
        auto& list = mutant.actions[rank];
        const Action twice = list[static_cast<size_t>(i)];
        list.push_back(twice);
        EXPECT_THAT(validate(mutant), finds(ProblemKind::duplicate_action)) << to_string(twice);
      });
}

TEST(Validate, EveryActionOnAnotherRankIsSeen) {
  for_each_action(
      lowered_samples(), [](const Action&) { return true; },
      [](Schedule& mutant, size_t rank, std::ptrdiff_t i) {
        auto& list = mutant.actions[rank];
        auto& other = mutant.actions[(rank + 1) % mutant.actions.size()];
        other.push_back(list[static_cast<size_t>(i)]);
        list.erase(list.begin() + i);
        EXPECT_THAT(validate(mutant), finds(ProblemKind::wrong_rank));
      });
}

// Two actions of one stage and microbatch, or two of one kind and stage, never commute.
TEST(Validate, EverySwapThatMattersIsSeen) {
  int swaps = 0;
  for (const Schedule& schedule : lowered_samples())
    for (size_t rank = 0; rank < schedule.actions.size(); ++rank) {
      const auto& list = schedule.actions[rank];
      for (size_t i = 0; i < list.size(); ++i)
        for (size_t k = i + 1; k < list.size(); ++k) {
          const bool same_work = list[i].stage == list[k].stage && list[i].microbatch == list[k].microbatch;
          const bool same_sum = list[i].stage == list[k].stage && list[i].op == list[k].op &&
                                (list[i].op != Op::forward && list[i].op != Op::backward_input);
          const bool sends_before = is_send(list[i].op) && is_send(list[k].op);
          if ((!same_work && !same_sum) || (same_work && sends_before) || is_reduce(list[k].op)) continue;
          if (same_work && (is_recv(list[i].op) && is_recv(list[k].op))) continue;
          const bool needs = !(is_send(list[i].op) && is_compute(list[k].op)) &&  // a send may be late
                             !(is_send(list[i].op) && is_recv(list[k].op)) &&
                             !(is_compute(list[i].op) && is_recv(list[k].op)) &&
                             !(list[i].op == Op::backward_weight && is_send(list[k].op));
          if (same_work && !needs) continue;
          Schedule mutant = schedule;
          std::swap(mutant.actions[rank][i], mutant.actions[rank][k]);
          ++swaps;
          EXPECT_THAT(validate(mutant), Not(IsEmpty()))
              << schedule.name << " rank " << rank << ": " << to_string(list[i]) << " and " << to_string(list[k]);
        }
    }
  EXPECT_GT(swaps, 500);
}

TEST(Validate, ASwappedReceiveIsSeenTwice) {
  Schedule schedule = lower(one_f_one_b(3, 4));
  auto& list = schedule.actions[1];
  const auto first = std::find(list.begin(), list.end(), Action{1, Op::recv_forward, 2});
  const auto second = std::find(list.begin(), list.end(), Action{1, Op::recv_forward, 3});
  ASSERT_NE(second, list.end());
  std::iter_swap(first, second);
  const auto problems = validate(schedule);
  EXPECT_THAT(problems, finds(ProblemKind::unmatched_order));
  EXPECT_THAT(problems, finds(ProblemKind::deadlock));
}

TEST(Validate, WeightGradientsKeepMicrobatchOrder) {
  Schedule schedule = zb_h1(2, 4);
  auto& list = schedule.actions[1];
  std::iter_swap(std::find(list.begin(), list.end(), Action{1, Op::backward_weight, 2}),
                 std::find(list.begin(), list.end(), Action{1, Op::backward_weight, 3}));
  EXPECT_THAT(validate(schedule), finds(ProblemKind::weight_order));
}

TEST(Validate, FullAndSplitBackwardExcludeEachOther) {
  Schedule schedule = one_f_one_b(1, 1);
  schedule.actions[0].push_back({0, Op::backward_weight, 0});
  EXPECT_THAT(validate(schedule), finds(ProblemKind::duplicate_action));
}

TEST(Validate, ReductionsWaitForTheLastWeightGradient) {
  Schedule schedule = lower(one_f_one_b(2, 2), {.tied_embedding = true});
  auto& list = schedule.actions[1];
  std::swap(list[list.size() - 1], list[0]);
  EXPECT_THAT(validate(schedule), finds(ProblemKind::early_reduction));
}

TEST(Validate, ATiedReductionNeedsBothEnds) {
  Schedule schedule = lower(one_f_one_b(2, 2), {.tied_embedding = true});
  schedule.actions[1].pop_back();
  EXPECT_THAT(validate(schedule), finds(ProblemKind::deadlock));
}

TEST(Validate, CommunicationHasAPurpose) {
  Schedule early = one_f_one_b(2, 1);
  early.actions[0].push_back({0, Op::send_forward, 0});
  EXPECT_THAT(validate(early), finds(ProblemKind::needless_communication));
  Schedule local = lower(interleaved(1, 2, 1));
  local.actions[0].push_back({0, Op::send_forward, 0});
  EXPECT_THAT(validate(local), finds(ProblemKind::needless_communication));
}

TEST(Validate, MemoryLimit) {
  EXPECT_THAT(validate(gpipe(2, 8), {.max_live = 8}), IsEmpty());
  EXPECT_THAT(validate(gpipe(2, 8), {.max_live = 7}), finds(ProblemKind::too_much_memory));
}

TEST(Validate, MalformedSchedulesAreSaidToBe) {
  const Schedule good = one_f_one_b(2, 2);
  std::vector<Schedule> bad(8, good);
  bad[0].ranks = 3;
  bad[1].rank_of_stage[1] = 2;
  bad[2].actions[0][0].stage = 2;
  bad[3].actions[0][0].microbatch = -1;
  bad[4].actions[0][0].microbatch = 2;
  bad[5].microbatches = 0;
  bad[6].rank_of_stage.clear();
  bad[7].microbatches = 2147483647;
  for (const Schedule& schedule : bad) EXPECT_THAT(validate(schedule), finds(ProblemKind::malformed));
  EXPECT_THAT(validate(Schedule{}), finds(ProblemKind::malformed));
}

TEST(Validate, TheListOfProblemsIsBounded) {
  Schedule schedule = gpipe(2, 1000);
  for (auto& list : schedule.actions) list.clear();
  EXPECT_EQ(validate(schedule).size(), 100U);
  EXPECT_THROW(require_valid(schedule, {.max_problems = 0}), Error);
}

}  // namespace
}  // namespace trident::pipeline
