#include "parallel/pipeline/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "parallel/pipeline/lower.h"
#include "parallel/pipeline/schedules.h"
#include "tests/parallel/pipeline/every_schedule.h"

namespace trident::pipeline {
namespace {

using testing::Contains;
using testing::Field;
using testing::IsEmpty;

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

// The slow, obvious proof that a lowered schedule is right: does one thing after the other where its conditions hold.
class Walk {
 public:
  explicit Walk(const Schedule& schedule)
      : schedule_(schedule), next_(schedule.actions.size()), weights_(schedule.rank_of_stage.size()) {}

  /// Whether all ranks come to their ends.
  bool completes() {
    for (bool moved = true; moved;) {
      moved = false;
      for (size_t rank = 0; rank < next_.size(); ++rank)
        while (step(rank)) moved = true;
    }
    for (size_t rank = 0; rank < next_.size(); ++rank)
      if (current(rank) != nullptr) return false;
    return true;
  }

 private:
  const Action* current(size_t rank) const {
    return next_[rank] < schedule_.actions[rank].size() ? &schedule_.actions[rank][next_[rank]] : nullptr;
  }
  size_t rank_of(int32_t stage) const { return static_cast<size_t>(schedule_.rank_of(stage)); }
  bool is_done(int32_t stage, Op op, int32_t microbatch) const { return done_.contains({stage, op, microbatch}); }
  bool has_input_gradient(int32_t stage, int32_t microbatch) const {
    return is_done(stage, Op::backward, microbatch) || is_done(stage, Op::backward_input, microbatch);
  }
  bool is_there(const Action& receive) const {
    const Action send = send_of(receive);
    if (rank_of(send.stage) != rank_of(receive.stage)) return is_done(receive.stage, receive.op, receive.microbatch);
    return can_send(send);
  }
  bool can_send(const Action& send) const {
    return send.op == Op::send_forward ? is_done(send.stage, Op::forward, send.microbatch)
                                       : has_input_gradient(send.stage, send.microbatch);
  }

  bool can_compute(const Action& action) const {
    const auto [stage, op, microbatch] = action;
    const bool in_order = weights_[static_cast<size_t>(stage)] == microbatch;
    if (op == Op::forward) return stage == 0 || is_there({stage, Op::recv_forward, microbatch});
    if (op == Op::backward_weight) return in_order && has_input_gradient(stage, microbatch);
    const bool last = stage + 1 == schedule_.stages();
    return is_done(stage, Op::forward, microbatch) && (op == Op::backward_input || in_order) &&
           (last || is_there({stage, Op::recv_backward, microbatch}));
  }

  bool has_all_weights(int32_t stage) const { return weights_[static_cast<size_t>(stage)] == schedule_.microbatches; }

  // An exchange moves both ranks.
  bool exchange(size_t rank, const Action& own, const Action& other) {
    const size_t peer = rank_of(other.stage);
    if (peer != rank && (current(peer) == nullptr || *current(peer) != other)) return false;
    finish(rank, own);
    if (peer != rank) finish(peer, other);
    return true;
  }

  void finish(size_t rank, const Action& action) {
    done_.insert({action.stage, action.op, action.microbatch});
    if (gives_weight_gradient(action.op)) ++weights_[static_cast<size_t>(action.stage)];
    ++next_[rank];
  }

  bool step(size_t rank) {
    const Action* at = current(rank);
    if (at == nullptr || is_recv(at->op)) return false;
    const Action action = *at;
    if (is_send(action.op)) return can_send(action) && exchange(rank, action, receive_of(action));
    if (is_reduce(action.op)) {
      const Action other{schedule_.stages() - 1 - action.stage, Op::reduce_tied, -1};
      return has_all_weights(action.stage) && has_all_weights(other.stage) && exchange(rank, action, other);
    }
    if (!can_compute(action)) return false;
    finish(rank, action);
    return true;
  }

  const Schedule& schedule_;
  std::vector<size_t> next_;
  std::vector<int32_t> weights_;  // weight gradients so far, per stage
  std::set<std::tuple<int32_t, Op, int32_t>> done_;
};

// Of all swaps of two actions of a rank, exactly those are valid that the walk gets through.
TEST(Validate, EverySwapThatMattersIsSeen) {
  std::vector<Schedule> schedules = lowered_samples();
  schedules.push_back(lower(interleaved(1, 3, 2), {.tied_embedding = true}));
  int harmless = 0, harmful = 0;
  for (const Schedule& schedule : schedules) {
    EXPECT_TRUE(Walk(schedule).completes()) << schedule.name;
    for (size_t rank = 0; rank < schedule.actions.size(); ++rank) {
      const auto& list = schedule.actions[rank];
      for (size_t i = 0; i < list.size(); ++i)
        for (size_t k = i + 1; k < list.size(); ++k) {
          Schedule mutant = schedule;
          std::swap(mutant.actions[rank][i], mutant.actions[rank][k]);
          const bool completes = Walk(mutant).completes();
          ++(completes ? harmless : harmful);
          EXPECT_EQ(validate(mutant).empty(), completes)
              << schedule.name << " rank " << rank << ": " << to_string(list[i]) << " and " << to_string(list[k]);
        }
    }
  }
  EXPECT_GT(harmful, 5000);
  EXPECT_GT(harmless, 50);
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
