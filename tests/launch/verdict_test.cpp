#include "launch/verdict.h"

#include <gmock/gmock.h>

#include <csignal>

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
  gang.ranks[2].ended = true;
  gang.ranks[2].wait_status = killed(SIGKILL);
  const auto verdict = find_verdict(gang);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->cause, FaultCause::killed);
  EXPECT_EQ(verdict->rank, 2);
  EXPECT_EQ(verdict->exit_code, 0);
  EXPECT_THAT(
      verdict->sentence(),
      HasSubstr("rank 2 (pid 102 on node) was killed by signal 9 (SIGKILL), in forward and backward of step 7"));
}

TEST(Verdict, TheFirstDeathCounts) {
  GangState gang = gang_of_4();
  for (const int rank : {0, 3, 1}) {
    gang.ranks[static_cast<size_t>(rank)].ended = true;
    gang.ranks[static_cast<size_t>(rank)].wait_status = killed(SIGKILL);
  }
  gang.ranks[0].end_order = 3, gang.ranks[3].end_order = 1, gang.ranks[1].end_order = 2;
  EXPECT_EQ(find_verdict(gang)->rank, 3);
  // A rank that told of its crash was before those that others killed.
  gang.ranks[1].record.state = State::crashed;
  gang.ranks[1].record.signal = SIGSEGV;
  const auto verdict = find_verdict(gang);
  EXPECT_EQ(verdict->rank, 1);
  EXPECT_EQ(verdict->cause, FaultCause::crash);
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
  gang.ranks[0].ended = true;
  gang.ranks[0].wait_status = killed(SIGKILL);
  EXPECT_EQ(find_verdict(gang)->cause, FaultCause::out_of_memory);
  gang.ranks[0].wait_status = killed(SIGTERM);
  EXPECT_EQ(find_verdict(gang)->cause, FaultCause::killed);
}

TEST(Verdict, ExitWithoutAWord) {
  GangState gang = gang_of_4();
  gang.ranks[3].ended = true;
  gang.ranks[3].wait_status = exited(0);
  const auto verdict = find_verdict(gang);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->cause, FaultCause::exit);
  EXPECT_THAT(verdict->what, HasSubstr("exit code 0"));
}

TEST(Verdict, ErrorsThatARestartRepeats) {
  GangState gang = gang_of_4();
  RankRecord& record = gang.ranks[1].record;
  record.state = State::failed;
  record.exit_code = 78;
  record.message = "training.steps: missing";
  EXPECT_FALSE(find_verdict(gang));  // it still says so in its log
  gang.ranks[1].ended = true;
  gang.ranks[1].wait_status = exited(78);
  EXPECT_EQ(find_verdict(gang)->exit_code, 78);
  EXPECT_THAT(find_verdict(gang)->sentence(), HasSubstr("training.steps: missing"));
  record.exit_code = 70;
  EXPECT_EQ(find_verdict(gang)->exit_code, 0);
}

TEST(Verdict, TheEarliestErrorCounts) {
  GangState gang = gang_of_4();
  for (RankState& rank : gang.ranks) {
    rank.record.state = State::failed;
    rank.record.exit_code = 70;
    rank.record.ended_ns = 1000 - 10 * rank.rank;
  }
  gang.ranks[1].ended = true;
  gang.ranks[1].wait_status = exited(70);
  EXPECT_EQ(find_verdict(gang)->rank, 3);
}

TEST(Verdict, WaitersAreNotBlamed) {
  GangState gang = gang_of_4();
  for (const size_t rank : {0U, 1U, 3U}) {
    collective(gang.ranks[rank], "world", 5, 4);
    wait_in_last(gang.ranks[rank], 9);
  }
  collective(gang.ranks[2], "world", 4, 4);
  gang.ranks[2].idle_s = 9.5;
  EXPECT_THAT(waits_for(gang, 0), ElementsAre(2));
  const auto verdict = find_verdict(gang);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->rank, 2);
  EXPECT_EQ(verdict->cause, FaultCause::hang);
  EXPECT_THAT(verdict->evidence, HasSubstr("ranks 0, 1, 3 wait for it in all_reduce #5 (8 bytes) of group world"));
  // As long as it works, the others' waiting is nobody's fault.
  gang.ranks[2].idle_s = 1;
  EXPECT_FALSE(find_verdict(gang));
}

// 0 and 1 wait for each other's neighbour: 0 for a message of 2, which waits in dp for 3, which is stopped.
TEST(Verdict, FollowsChainsAcrossGroups) {
  GangState gang = gang_of_4();
  message(gang.ranks[0], CollectiveOp::recv, 1, 4, 3);
  wait_in_last(gang.ranks[0], 8);
  message(gang.ranks[2], CollectiveOp::send, 0, 3, 3);
  collective(gang.ranks[2], "dp", 2, 1);
  wait_in_last(gang.ranks[2], 9);
  collective(gang.ranks[3], "dp", 1, 1);
  gang.ranks[3].idle_s = 10;
  gang.ranks[3].stopped = true;
  gang.ranks[1].idle_s = 0.1;
  EXPECT_THAT(waits_for(gang, 0), ElementsAre(2));
  EXPECT_THAT(waits_for(gang, 2), ElementsAre(3));
  const auto verdict = find_verdict(gang);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->rank, 3);
  EXPECT_EQ(verdict->cause, FaultCause::stopped);
}

// 3 began to gather in dp and then computes for ever, so that 2 waits for a call that both have begun; 0 waits for 2.
TEST(Verdict, ACallThatIsBegunAndNeglected) {
  GangState gang = gang_of_4();
  message(gang.ranks[0], CollectiveOp::recv, 1, 6, 5);
  wait_in_last(gang.ranks[0], 3.05);
  collective(gang.ranks[2], "dp", 8, 7);
  wait_in_last(gang.ranks[2], 3.1);
  collective(gang.ranks[3], "dp", 8, 7);
  gang.ranks[3].idle_s = 3.2;
  EXPECT_THAT(waits_for(gang, 2), ElementsAre(3));
  const auto verdict = find_verdict(gang);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->rank, 3);
  EXPECT_EQ(verdict->cause, FaultCause::hang);
}

// Stopped while it waited for a message that has been sent since.
TEST(Verdict, AWaiterThatIsStopped) {
  GangState gang = gang_of_4();
  message(gang.ranks[0], CollectiveOp::recv, 1, 4, 3);
  wait_in_last(gang.ranks[0], 9);
  gang.ranks[0].stopped = true;
  message(gang.ranks[2], CollectiveOp::send, 0, 4, 4);
  message(gang.ranks[2], CollectiveOp::recv, 0, 5, 4);
  wait_in_last(gang.ranks[2], 8);
  EXPECT_THAT(waits_for(gang, 0), IsEmpty());
  EXPECT_THAT(waits_for(gang, 2), ElementsAre(0));
  EXPECT_EQ(find_verdict(gang)->rank, 0);
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
  const auto verdict = find_verdict(gang);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->cause, FaultCause::skipped_collective);
  EXPECT_EQ(verdict->rank, 1);
  EXPECT_THAT(verdict->evidence, HasSubstr("reduce_scatter #7 (4096 bytes) of group dp"));
  EXPECT_THAT(verdict->evidence, HasSubstr("it is in all_reduce #4"));
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
  EXPECT_EQ(find_verdict(gang)->rank, 2);
}

TEST(Verdict, MismatchedCollective) {
  GangState gang = gang_of_4();
  for (RankState& rank : gang.ranks) {
    const bool odd = rank.rank == 2;
    collective(rank, "world", 9, 8, odd ? CollectiveOp::all_reduce : CollectiveOp::barrier, odd ? 8 : 0);
    wait_in_last(rank, 0);
  }
  gang.ranks[0].record.state = State::failed;
  gang.ranks[0].record.exit_code = 70;
  gang.ranks[0].ended = true;
  gang.ranks[0].wait_status = exited(70);
  const auto verdict = find_verdict(gang);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->cause, FaultCause::mismatched_collectives);
  EXPECT_EQ(verdict->rank, 2);
  EXPECT_THAT(verdict->evidence, HasSubstr("as call #9 of group world it began all_reduce of 8 bytes, others barrier"));
}

TEST(Verdict, LeftEarly) {
  GangState gang = gang_of_4();
  for (RankState& rank : gang.ranks) {
    collective(rank, "world", rank.rank == 0 ? 4 : 5, 4);
    if (rank.rank != 0) wait_in_last(rank, 9);
  }
  gang.ranks[0].record.state = State::finished;
  gang.ranks[0].idle_s = 10;
  EXPECT_EQ(find_verdict(gang)->cause, FaultCause::left_early);
  EXPECT_EQ(find_verdict(gang)->rank, 0);
  // Its process may be gone already.
  gang.ranks[0].ended = true;
  gang.ranks[0].wait_status = exited(0);
  EXPECT_EQ(find_verdict(gang)->cause, FaultCause::left_early);
}

TEST(Verdict, AWitnessOfALossIsNotBlamed) {
  GangState gang = gang_of_4();
  collective(gang.ranks[0], "dp", 3, 2);
  wait_in_last(gang.ranks[0], 1);
  collective(gang.ranks[1], "dp", 2, 2);
  gang.ranks[1].idle_s = 1;
  gang.ranks[0].record.state = State::failed;
  gang.ranks[0].record.exit_code = 69;
  gang.ranks[0].ended = true;
  gang.ranks[0].wait_status = exited(69);
  for (const size_t rank : {2U, 3U}) {
    collective(gang.ranks[rank], "world", 3, 2);
    wait_in_last(gang.ranks[rank], 1);
  }
  EXPECT_EQ(find_verdict(gang)->rank, 1);
}

TEST(Verdict, LauncherLost) {
  GangState gang = gang_of_4();
  gang.launcher_end = "was killed by signal 9";
  const auto verdict = find_verdict(gang);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(verdict->cause, FaultCause::launcher_lost);
  EXPECT_EQ(verdict->rank, -1);
  for (RankState& rank : gang.ranks) {
    rank.ended = rank.lost = true;
    rank.wait_status = killed(SIGKILL);
  }
  EXPECT_EQ(find_verdict(gang)->cause, FaultCause::launcher_lost);
  for (RankState& rank : gang.ranks) {
    rank.ended = true;
    rank.lost = false;
    rank.wait_status = exited(0);
    rank.record.state = State::finished;
  }
  EXPECT_FALSE(find_verdict(gang));
}

}  // namespace
}  // namespace trident
