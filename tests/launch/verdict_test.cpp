#include "launch/verdict.h"

#include <gmock/gmock.h>

#include <csignal>

#include "launch/wait_graph.h"

namespace trident {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using State = RankRecord::State;

constexpr int killed(int signal) { return signal; }
constexpr int exited(int code) { return code << 8; }

RankState healthy(int rank) {
  RankState state;
  state.rank = rank;
  state.pid = 100 + rank;
  state.host = "node";
  state.record.state = State::running;
  state.record.rank = rank;
  state.record.phase = TrainPhase::forward_backward;
  state.record.step = 7;
  state.limit_s = 3;
  return state;
}

// dp = 2, pp = 2: ranks 0 and 1 are the first stage, 2 and 3 the second.
GangState gang_of_4() {
  GangState gang;
  gang.mesh = {2, 1, 2};
  for (int rank = 0; rank < 4; ++rank) gang.ranks.push_back(healthy(rank));
  return gang;
}

void end(RankState& rank, int wait_status) {
  rank.ended = true;
  rank.wait_status = wait_status;
}

void tell_of_error(RankState& rank, int exit_code) {
  rank.record.state = State::failed;
  rank.record.exit_code = exit_code;
}

/// It has begun `entered` calls of the group, and is done with `left` of them.
void collective(RankState& rank, const std::string& group, uint64_t entered, uint64_t left,
                CollectiveOp op = CollectiveOp::all_reduce, int64_t bytes = 8) {
  rank.record.groups.push_back({group, -1, op, entered, left, bytes});
}

void message(RankState& rank, CollectiveOp op, int peer, uint64_t entered, uint64_t left) {
  rank.record.groups.push_back({"pp", peer, op, entered, left, 64});
}

void wait_in_last(RankState& rank, double idle_s) {
  rank.record.waits_in = rank.record.groups.size() - 1;
  rank.idle_s = idle_s;
}

void wait_in(RankState& rank, const std::string& group, uint64_t call, double idle_s) {
  collective(rank, group, call, call - 1);
  wait_in_last(rank, idle_s);
}

void wait_for_message(RankState& rank, int sender, uint64_t number, double idle_s) {
  message(rank, CollectiveOp::recv, sender, number, number - 1);
  wait_in_last(rank, idle_s);
}

/// The verdict, which must be this one.
Verdict expect_verdict(const GangState& gang, int rank, FaultCause cause) {
  Verdict verdict = find_verdict(gang).value_or(Verdict{});
  EXPECT_EQ(verdict.rank, rank) << verdict.sentence();
  EXPECT_EQ(to_string(verdict.cause), to_string(cause)) << verdict.sentence();
  return verdict;
}

TEST(Verdict, NothingWhileAllIsWell) {
  GangState gang = gang_of_4();
  EXPECT_FALSE(find_verdict(gang));
  gang.ranks[1].idle_s = 2.9;
  EXPECT_FALSE(find_verdict(gang));
}

TEST(Verdict, GroupsFollowTheMesh) {
  const GangState gang = gang_of_4();
  EXPECT_THAT(group_members(gang, 1, "world"), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(group_members(gang, 3, "dp"), ElementsAre(2, 3));
  EXPECT_THAT(group_members(gang, 3, "pp"), ElementsAre(1, 3));
  EXPECT_THAT(group_members(gang, 3, "tp"), ElementsAre(3));
  EXPECT_THAT(group_members(gang, 0, "injected"), ElementsAre(0, 1, 2, 3));
}

TEST(Verdict, KilledRank) {
  GangState gang = gang_of_4();
  end(gang.ranks[2], killed(SIGKILL));
  const Verdict verdict = expect_verdict(gang, 2, FaultCause::killed);
  EXPECT_EQ(verdict.exit_code, 0);
  EXPECT_THAT(
      verdict.sentence(),
      HasSubstr("rank 2 (pid 102 on node) was killed by signal 9 (SIGKILL), in forward and backward of step 7"));
}

TEST(Verdict, TheFirstDeathCounts) {
  GangState gang = gang_of_4();
  for (const size_t rank : {0U, 3U, 1U}) end(gang.ranks[rank], killed(SIGKILL));
  gang.ranks[0].end_order = 3, gang.ranks[3].end_order = 1, gang.ranks[1].end_order = 2;
  expect_verdict(gang, 3, FaultCause::killed);
  // A rank that told of its crash was before those that others killed.
  gang.ranks[1].record.state = State::crashed;
  gang.ranks[1].record.signal = SIGSEGV;
  expect_verdict(gang, 1, FaultCause::crash);
}

TEST(Verdict, ALostDaemonIsNamedByItsNode) {
  GangState gang = gang_of_4();
  for (RankState& rank : gang.ranks) {
    rank.host = rank.rank < 2 ? "a" : "b";
    rank.ended = rank.lost = true;
    rank.wait_status = killed(SIGKILL);
    rank.end_order = rank.rank + 1;
  }
  for (const int rank : {2, 3}) gang.ranks[static_cast<size_t>(rank)].daemon_gone = true;
  gang.launcher_end = "ended with exit code 205";
  const auto verdict = find_verdict(gang);
  EXPECT_EQ(verdict->cause, FaultCause::launcher_lost);
  EXPECT_EQ(verdict->host, "b");
  EXPECT_LT(verdict->rank, 0);
  // Where mpirun itself was killed, its daemons went after it.
  gang.launcher_killed = true;
  EXPECT_EQ(find_verdict(gang)->host, "");
}

TEST(Verdict, KilledByTheKernel) {
  GangState gang = gang_of_4();
  for (RankState& rank : gang.ranks) rank.kernel_killed = true;
  end(gang.ranks[0], killed(SIGKILL));
  expect_verdict(gang, 0, FaultCause::out_of_memory);
  gang.ranks[0].wait_status = killed(SIGTERM);
  expect_verdict(gang, 0, FaultCause::killed);
}

TEST(Verdict, ExitWithoutAWord) {
  GangState gang = gang_of_4();
  end(gang.ranks[3], exited(0));
  const Verdict verdict = expect_verdict(gang, 3, FaultCause::exit);
  EXPECT_THAT(verdict.what, HasSubstr("exit code 0"));
}

TEST(Verdict, ErrorsThatARestartRepeats) {
  GangState gang = gang_of_4();
  RankRecord& record = gang.ranks[1].record;
  tell_of_error(gang.ranks[1], 78);
  record.message = "training.steps: missing";
  EXPECT_FALSE(find_verdict(gang));  // it still says so in its log
  end(gang.ranks[1], exited(78));
  const Verdict verdict = expect_verdict(gang, 1, FaultCause::error);
  EXPECT_EQ(verdict.exit_code, 78);
  EXPECT_THAT(verdict.sentence(), HasSubstr("training.steps: missing"));
  record.exit_code = 70;
  EXPECT_EQ(expect_verdict(gang, 1, FaultCause::error).exit_code, 0);
}

TEST(Verdict, TheEarliestErrorCounts) {
  GangState gang = gang_of_4();
  for (RankState& rank : gang.ranks) {
    tell_of_error(rank, 70);
    rank.record.ended_ns = 1000 - 10 * rank.rank;
  }
  end(gang.ranks[1], exited(70));
  expect_verdict(gang, 3, FaultCause::error);
}

TEST(Verdict, WaitersAreNotBlamed) {
  GangState gang = gang_of_4();
  for (const size_t rank : {0U, 1U, 3U}) wait_in(gang.ranks[rank], "world", 5, 9);
  collective(gang.ranks[2], "world", 4, 4);
  gang.ranks[2].idle_s = 9.5;
  EXPECT_THAT(waits_for(gang, 0), ElementsAre(2));
  const Verdict verdict = expect_verdict(gang, 2, FaultCause::hang);
  EXPECT_THAT(verdict.evidence, HasSubstr("ranks 0, 1, 3 wait for it in all_reduce #5 (8 bytes) of group world"));
  // As long as it works, the others' waiting is nobody's fault.
  gang.ranks[2].idle_s = 1;
  EXPECT_FALSE(find_verdict(gang));
}

// 0 and 1 wait for each other's neighbour: 0 for a message of 2, which waits in dp for 3, which is stopped.
TEST(Verdict, FollowsChainsAcrossGroups) {
  GangState gang = gang_of_4();
  wait_for_message(gang.ranks[0], 1, 4, 8);
  message(gang.ranks[2], CollectiveOp::send, 0, 3, 3);
  wait_in(gang.ranks[2], "dp", 2, 9);
  collective(gang.ranks[3], "dp", 1, 1);
  gang.ranks[3].idle_s = 10;
  gang.ranks[3].stopped = true;
  gang.ranks[1].idle_s = 0.1;
  EXPECT_THAT(waits_for(gang, 0), ElementsAre(2));
  EXPECT_THAT(waits_for(gang, 2), ElementsAre(3));
  expect_verdict(gang, 3, FaultCause::stopped);
}

// 3 began to gather in dp and then computes for ever, so that 2 waits for a call that both have begun; 0 waits for 2.
TEST(Verdict, ACallThatIsBegunAndNeglected) {
  GangState gang = gang_of_4();
  wait_for_message(gang.ranks[0], 1, 6, 3.05);
  wait_in(gang.ranks[2], "dp", 8, 3.1);
  collective(gang.ranks[3], "dp", 8, 7);
  gang.ranks[3].idle_s = 3.2;
  EXPECT_THAT(waits_for(gang, 2), ElementsAre(3));
  expect_verdict(gang, 3, FaultCause::hang);
}

// Stopped while it waited for a message that has been sent since.
TEST(Verdict, AWaiterThatIsStopped) {
  GangState gang = gang_of_4();
  wait_for_message(gang.ranks[0], 1, 4, 9);
  gang.ranks[0].stopped = true;
  message(gang.ranks[2], CollectiveOp::send, 0, 4, 4);
  wait_for_message(gang.ranks[2], 0, 5, 8);
  EXPECT_THAT(waits_for(gang, 0), IsEmpty());
  EXPECT_THAT(waits_for(gang, 2), ElementsAre(0));
  expect_verdict(gang, 0, FaultCause::stopped);
}

TEST(Verdict, SkippedCollective) {
  GangState gang = gang_of_4();
  for (RankState& rank : gang.ranks) {
    const bool skipper = rank.rank == 1;
    collective(rank, "dp", skipper ? 6 : 7, 6, CollectiveOp::reduce_scatter, 4096);
    if (!skipper) wait_in_last(rank, 5);
    collective(rank, "world", skipper ? 4 : 3, 3);
    if (skipper) wait_in_last(rank, 5);
    if (skipper) rank.record.phase = TrainPhase::exchange;
  }
  // 2 and 3 of the other dp group are done with it and wait in the world.
  for (const size_t rank : {2U, 3U}) {
    gang.ranks[rank].record.groups[0].left = 7;
    gang.ranks[rank].record.groups[1].entered = 4;
    gang.ranks[rank].record.waits_in = 1;
  }
  EXPECT_THAT(waits_for(gang, 0), ElementsAre(1));
  EXPECT_THAT(waits_for(gang, 1), ElementsAre(0));
  const Verdict verdict = expect_verdict(gang, 1, FaultCause::skipped_collective);
  EXPECT_THAT(verdict.evidence, HasSubstr("reduce_scatter #7 (4096 bytes) of group dp"));
  EXPECT_THAT(verdict.evidence, HasSubstr("it is in all_reduce #4"));
}

// All in one phase: three wait in the call that the fourth has passed by, one for each of them.
TEST(Verdict, SkippedCollectiveOfTheSamePhase) {
  GangState gang = gang_of_4();
  for (RankState& rank : gang.ranks) {
    const bool skipper = rank.rank == 2;
    collective(rank, "injected", skipper ? 0 : 1, 0, CollectiveOp::barrier, 0);
    if (!skipper) wait_in_last(rank, 5);
    collective(rank, "world", skipper ? 4 : 3, 3);
    if (skipper) wait_in_last(rank, 5);
  }
  EXPECT_THAT(waits_for(gang, 2), ElementsAre(0, 1, 3));
  expect_verdict(gang, 2, FaultCause::skipped_collective);
}

TEST(Verdict, MismatchedCollective) {
  GangState gang = gang_of_4();
  for (RankState& rank : gang.ranks) {
    const bool odd = rank.rank == 2;
    collective(rank, "world", 9, 8, odd ? CollectiveOp::all_reduce : CollectiveOp::barrier, odd ? 8 : 0);
    wait_in_last(rank, 0);
  }
  tell_of_error(gang.ranks[0], 70);
  end(gang.ranks[0], exited(70));
  const Verdict verdict = expect_verdict(gang, 2, FaultCause::mismatched_collectives);
  EXPECT_THAT(verdict.evidence, HasSubstr("as call #9 of group world it began all_reduce of 8 bytes, others barrier"));
}

TEST(Verdict, LeftEarly) {
  GangState gang = gang_of_4();
  for (RankState& rank : gang.ranks) {
    collective(rank, "world", rank.rank == 0 ? 4 : 5, 4);
    if (rank.rank != 0) wait_in_last(rank, 9);
  }
  gang.ranks[0].record.state = State::finished;
  gang.ranks[0].idle_s = 10;
  expect_verdict(gang, 0, FaultCause::left_early);
  // Its process may be gone already.
  end(gang.ranks[0], exited(0));
  expect_verdict(gang, 0, FaultCause::left_early);
}

TEST(Verdict, WhoIsDoneWaitsForTheOthersOnly) {
  GangState gang = gang_of_4();
  // Rank 0 waits for a message of rank 2, rank 1 for rank 0, and rank 2 at its end for all.
  for (RankState& rank : gang.ranks) collective(rank, "world", 3, 3);
  wait_for_message(gang.ranks[0], 1, 6, 4);
  wait_in(gang.ranks[1], "dp", 23, 4);
  wait_in(gang.ranks[3], "dp", 23, 4);
  gang.ranks[2].record.groups[0].entered = 4;
  gang.ranks[2].record.waits_in = 0;
  gang.ranks[2].idle_s = 4;
  gang.ranks[2].record.state = State::finished;
  EXPECT_THAT(waits_for(gang, 0), ElementsAre(2));
  EXPECT_THAT(waits_for(gang, 2), ElementsAre(0, 1, 3));
  expect_verdict(gang, 2, FaultCause::left_early);
}

// Parameters are gathered while the next step begins: both have begun it, and one has left without seeing to its end.
TEST(Verdict, WhoIsDoneHasLetGoOfWhatItHadBegun) {
  GangState gang = gang_of_4();
  for (RankState& rank : gang.ranks) collective(rank, "world", 3, 3);
  wait_for_message(gang.ranks[0], 1, 6, 4);
  wait_for_message(gang.ranks[1], 1, 6, 4);
  collective(gang.ranks[2], "dp", 5, 4);
  gang.ranks[2].record.groups[0].entered = 4;
  gang.ranks[2].record.waits_in = 0;
  gang.ranks[2].idle_s = 4;
  gang.ranks[2].record.state = State::finished;
  wait_in(gang.ranks[3], "dp", 5, 4);
  EXPECT_THAT(waits_for(gang, 3), ElementsAre(2));
  EXPECT_EQ(WaitGraph(gang).waiter_counts()[2], 2U);
  expect_verdict(gang, 2, FaultCause::left_early);
}

// Whoever finds it first: the one that is done, or one of the others.
TEST(Verdict, WhoIsDoneWhileOthersMakeAnotherCall) {
  for (const bool by_the_one : {true, false}) {
    GangState gang = gang_of_4();
    for (RankState& rank : gang.ranks)
      collective(rank, "world", 9, 8, rank.rank == 3 ? CollectiveOp::barrier : CollectiveOp::all_gather, 8);
    gang.ranks[3].record.state = State::finished;
    if (by_the_one) {
      end(gang.ranks[3], exited(70));
    } else {
      tell_of_error(gang.ranks[0], 70);
      end(gang.ranks[0], exited(70));
    }
    expect_verdict(gang, 3, FaultCause::left_early);
  }
}

TEST(Verdict, AWitnessOfALossIsNotBlamed) {
  GangState gang = gang_of_4();
  wait_in(gang.ranks[0], "dp", 3, 1);
  collective(gang.ranks[1], "dp", 2, 2);
  gang.ranks[1].idle_s = 1;
  tell_of_error(gang.ranks[0], 69);
  end(gang.ranks[0], exited(69));
  for (const size_t rank : {2U, 3U}) wait_in(gang.ranks[rank], "world", 3, 1);
  expect_verdict(gang, 1, FaultCause::hang);
}

TEST(Verdict, LauncherLost) {
  GangState gang = gang_of_4();
  gang.launcher_end = "was killed by signal 9";
  expect_verdict(gang, -1, FaultCause::launcher_lost);
  for (RankState& rank : gang.ranks) {
    end(rank, killed(SIGKILL));
    rank.lost = true;
  }
  expect_verdict(gang, -1, FaultCause::launcher_lost);
  for (RankState& rank : gang.ranks) {
    rank.ended = true;
    rank.lost = false;
    rank.wait_status = exited(0);
    rank.record.state = State::finished;
  }
  EXPECT_FALSE(find_verdict(gang));
}

// All ranks say the same of one of them, and end; who ended first does not matter.
TEST(Verdict, WhatTheRanksFoundOutTogether) {
  GangState gang = gang_of_4();
  for (RankState& rank : gang.ranks) {
    rank.record.state = State::failed;
    rank.record.exit_code = 76;
    rank.record.message = "step 7: loss nan";
    rank.record.blame = Blame{StateFault::Kind::not_finite, 2, 7};
    rank.ended = true;
    rank.wait_status = exited(76);
  }
  auto verdict = find_verdict(gang);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->cause, FaultCause::not_finite);
  EXPECT_EQ(verdict->rank, 2);
  EXPECT_EQ(verdict->step, 7);
  EXPECT_EQ(verdict->exit_code, 76);
  EXPECT_THAT(verdict->sentence(), HasSubstr("rank 2 (pid 102 on node) computes values that are not finite"));

  for (RankState& rank : gang.ranks) rank.record.blame = Blame{StateFault::Kind::corrupted, -1, 7};
  verdict = find_verdict(gang);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->cause, FaultCause::corrupted);
  EXPECT_EQ(verdict->rank, -1);
  EXPECT_EQ(verdict->exit_code, 0);
}

}  // namespace
}  // namespace trident
