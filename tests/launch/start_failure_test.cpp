#include "launch/start_failure.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <limits>

#include "launch/shared_memory_room.h"

namespace trident {
namespace {

using testing::HasSubstr;

GangState gang(TrainPhase phase) {
  GangState state;
  state.mesh = {2, 1, 1};
  for (int i = 0; i < 2; ++i) {
    RankState rank;
    rank.rank = i;
    rank.pid = 100 + i;
    rank.record.phase = phase;
    state.ranks.push_back(rank);
  }
  return state;
}

Verdict left() {
  Verdict verdict;
  verdict.cause = FaultCause::exit;
  verdict.rank = 1;
  verdict.advice = "something in the process called exit()";
  return verdict;
}

TEST(StartFailure, OfARankThatLeftBeforeItHadJoinedOpenMpiIsHeard) {
  EXPECT_TRUE(is_mpirun_to_be_heard(left(), gang(TrainPhase::starting)));
  EXPECT_FALSE(is_mpirun_to_be_heard(left(), gang(TrainPhase::resuming)));
  Verdict killed = left();
  killed.cause = FaultCause::killed;
  EXPECT_FALSE(is_mpirun_to_be_heard(killed, gang(TrainPhase::starting)));
  Verdict verdict = left();
  explain_start_failure(verdict, gang(TrainPhase::starting), {}, std::nullopt);
  EXPECT_THAT(verdict.sentence(), HasSubstr("Open MPI ended it"));
  EXPECT_EQ(verdict.exit_code, 0);
}

TEST(StartFailure, FullSharedMemoryIsNamedWhileRanksStart) {
  Verdict verdict = left();
  explain_start_failure(verdict, gang(TrainPhase::starting), {}, "/dev/shm is full");
  EXPECT_THAT(verdict.sentence(), HasSubstr("/dev/shm is full"));
  EXPECT_THAT(verdict.sentence(), HasSubstr("--shm-size"));
  Verdict later;
  later.cause = FaultCause::launcher_lost;
  explain_start_failure(later, gang(TrainPhase::resuming), {}, "/dev/shm is full");
  EXPECT_EQ(later.evidence, "");
}

TEST(StartFailure, WhereNoRankStartedItEndsTheJob) {
  GangState none = gang(TrainPhase::starting);
  for (RankState& rank : none.ranks) rank.pid = 0;
  Verdict verdict;
  verdict.cause = FaultCause::launcher_lost;
  EXPECT_TRUE(is_mpirun_to_be_heard(verdict, none));
  explain_start_failure(verdict, none, {}, std::nullopt);
  EXPECT_EQ(verdict.exit_code, 69);
  EXPECT_THAT(verdict.advice, HasSubstr("--mpirun=--oversubscribe"));
}

TEST(StartFailure, MpirunsWordsNameTheHost) {
  for (const char* words :
       {"mpirun noticed that process rank 1 with PID 0 on node b exited on signal 11 (Segmentation fault).",
        "The first process to do so was:\n\n  Process name: [[42937,1],1]\n  Exit code:    127\n",
        "This error was first reported for process rank 1; this may have occurred for other processes"}) {
    GangState half = gang(TrainPhase::starting);
    half.ranks[1].pid = 0;
    half.ranks[1].host = "b";
    Verdict verdict;
    verdict.cause = FaultCause::launcher_lost;
    explain_start_failure(verdict, half, words, std::nullopt);
    EXPECT_EQ(verdict.host, "b") << words;
    EXPECT_THAT(verdict.sentence(), HasSubstr("rank 1 did not start on b"));
  }
}

TEST(StartFailure, WordsThatNameNobodyNameNobody) {
  for (const char* words : {"", "process rank ", "process rank 7", "process rank -1", "Process name: [[1,1",
                            "Process name: [[1,1],x", "process rank 99999999999", "process rank 0"}) {
    GangState half = gang(TrainPhase::starting);
    half.ranks[1].pid = 0;
    Verdict verdict;
    verdict.cause = FaultCause::launcher_lost;
    explain_start_failure(verdict, half, words, std::nullopt);
    EXPECT_EQ(verdict.host, "") << words;
    EXPECT_EQ(verdict.evidence, "") << words;
  }
}

TEST(SharedMemoryRoom, IsLackingWhereLessIsFree) {
  const std::string folder = std::filesystem::temp_directory_path().string();
  EXPECT_EQ(lack_of_shared_memory(0, folder.c_str()), std::nullopt);
  EXPECT_THAT(lack_of_shared_memory(std::numeric_limits<uint64_t>::max(), folder.c_str()).value_or(""),
              HasSubstr(folder + " is full: "));
  EXPECT_EQ(lack_of_shared_memory(1, "/no/such/folder"), std::nullopt);
  EXPECT_GT(shared_memory_to_start(8), shared_memory_to_start(2));
}

}  // namespace
}  // namespace trident
