#include "launch/heartbeat.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <csignal>
#include <thread>

#include "core/error.h"
#include "launch/progress_limits.h"

namespace trident {
namespace {

using State = RankRecord::State;

class HeartbeatTest : public testing::Test {
 protected:
  void TearDown() override { HeartbeatMemory::remove(name_); }

  const std::string name_ = "/heartbeat_test." + std::to_string(getpid());
  HeartbeatMemory memory_ = HeartbeatMemory::create(name_, 3, 5);
};

TEST_F(HeartbeatTest, StartsEmpty) {
  const HeartbeatMemory other = HeartbeatMemory::attach(name_);
  EXPECT_EQ(other.slots(), 3);
  EXPECT_EQ(other.epoch(), 5);
  const RankRecord record = other.read(2);
  EXPECT_EQ(record.state, State::absent);
  EXPECT_EQ(record.done, -1);
  EXPECT_EQ(record.committed, -1);
  EXPECT_TRUE(record.groups.empty());
}

TEST_F(HeartbeatTest, OnlyItsUserMayOpenIt) {
  struct stat status {};
  ASSERT_EQ(stat(("/dev/shm" + name_).c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(HeartbeatTest, SaysWhereTheRankIs) {
  Heartbeat heartbeat(HeartbeatMemory::attach(name_), 1, 6);
  heartbeat.resumed(10);
  heartbeat.phase(TrainPhase::forward_backward, 11);
  heartbeat.action({3, pipeline::Op::backward_weight, 7});
  RankRecord record = memory_.read(1);
  EXPECT_EQ(record.state, State::running);
  EXPECT_EQ(record.rank, 6);
  EXPECT_EQ(record.pid, getpid());
  EXPECT_EQ(record.resumed, 10);
  EXPECT_EQ(record.step, 11);
  ASSERT_TRUE(record.action);
  EXPECT_EQ(pipeline::to_string(*record.action), "3W7");
  heartbeat.step_done(11, 2.5, 0.25);
  heartbeat.committed(10);
  heartbeat.phase(TrainPhase::checkpoint, 12);
  record = memory_.read(1);
  EXPECT_FALSE(record.action);
  EXPECT_EQ(record.done, 11);
  EXPECT_EQ(record.committed, 10);
  EXPECT_EQ(std::bit_cast<double>(record.loss_bits), 2.5);
  EXPECT_EQ(record.busy_seconds, 0.25);
  EXPECT_EQ(record.phases[static_cast<size_t>(TrainPhase::forward_backward)].total(), 1U);
  EXPECT_EQ(memory_.read(0).state, State::absent);
}

TEST_F(HeartbeatTest, CheckpointsBecomeVisibleWhileTheNodeHasItsLease) {
  const Heartbeat heartbeat(HeartbeatMemory::attach(name_), 1, 6);
  EXPECT_TRUE(heartbeat.may_commit());
  const auto in = [](std::chrono::seconds time) {
    return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch() + time).count();
  };
  memory_.extend_lease(in(std::chrono::seconds(-1)));
  EXPECT_FALSE(heartbeat.may_commit());
  memory_.extend_lease(in(std::chrono::seconds(60)));
  EXPECT_TRUE(heartbeat.may_commit());
}

TEST_F(HeartbeatTest, CountsCallsByGroupAndPeer) {
  Heartbeat heartbeat(HeartbeatMemory::attach(name_), 0, 0);
  const std::string dp = "dp", pp = "pp";
  const ProgressRecord first{dp, 1, CollectiveOp::all_reduce, 100}, second{dp, 2, CollectiveOp::broadcast, 50};
  const ProgressRecord sent{pp, 0, CollectiveOp::send, 10, 1}, received{pp, 0, CollectiveOp::recv, 10, 1};
  heartbeat.entered(first);
  heartbeat.entered(second);
  heartbeat.left(first);
  heartbeat.entered(sent);
  heartbeat.entered(received);
  heartbeat.waits(received);
  RankRecord record = memory_.read(0);
  ASSERT_EQ(record.groups.size(), 3U);
  EXPECT_EQ(record.groups[0].group, "dp");
  EXPECT_EQ(record.groups[0].entered, 2U);
  EXPECT_EQ(record.groups[0].left, 1U);
  EXPECT_EQ(record.groups[0].op, CollectiveOp::broadcast);
  EXPECT_EQ(record.groups[0].peer, -1);
  EXPECT_EQ(record.groups[1].op, CollectiveOp::send);
  ASSERT_TRUE(record.waits_in);
  EXPECT_EQ(*record.waits_in, 2U);
  EXPECT_EQ(record.groups[2].peer, 1);
  heartbeat.left(received);
  heartbeat.waited(received);
  EXPECT_FALSE(memory_.read(0).waits_in);
}

TEST_F(HeartbeatTest, MoreGroupsThanFitAreLeftOut) {
  Heartbeat heartbeat(HeartbeatMemory::attach(name_), 0, 0);
  const std::string pp = "pp";
  for (int peer = 0; peer < 40; ++peer) heartbeat.entered({pp, 0, CollectiveOp::send, 1, peer});
  EXPECT_EQ(memory_.read(0).groups.size(), 24U);
}

TEST_F(HeartbeatTest, TellsOfItsEnd) {
  Heartbeat heartbeat(HeartbeatMemory::attach(name_), 0, 0);
  heartbeat.failed(78, "training.steps: missing");
  EXPECT_EQ(memory_.read(0).state, State::failed);
  EXPECT_EQ(memory_.read(0).exit_code, 78);
  EXPECT_EQ(memory_.read(0).message, "training.steps: missing");
  heartbeat.failed(70, std::string(5000, 'x'));
  EXPECT_EQ(memory_.read(0).message.size(), 768U);
  heartbeat.finished(75);
  EXPECT_EQ(memory_.read(0).state, State::finished);
  heartbeat.crashed(SIGSEGV);
  EXPECT_EQ(memory_.read(0).state, State::crashed);
  EXPECT_EQ(memory_.read(0).signal, SIGSEGV);
}

TEST_F(HeartbeatTest, OutlivesARankThatIsKilled) {
  const pid_t child = fork();
  if (child == 0) {
    Heartbeat heartbeat(HeartbeatMemory::attach(name_), 2, 2);
    for (int64_t step = 1;; ++step) heartbeat.phase(TrainPhase::data, step);
  }
  while (memory_.beats(2) < 1000) std::this_thread::yield();
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  const RankRecord record = memory_.read(2);
  EXPECT_EQ(record.pid, child);
  EXPECT_GT(record.step, 0);
}

// What is read was written together.
TEST_F(HeartbeatTest, ReadsWholeRecords) {
  Heartbeat heartbeat(HeartbeatMemory::attach(name_), 0, 0);
  std::atomic<bool> ending{false};
  std::thread writer([&] {
    for (int64_t step = 1; !ending; ++step) {
      heartbeat.step_done(step, static_cast<double>(step), static_cast<double>(step));
      std::this_thread::sleep_for(std::chrono::microseconds(1));
    }
  });
  int whole = 0;
  for (int i = 0; i < 20000; ++i) {
    const RankRecord record = memory_.read(0);
    const auto loss = std::bit_cast<double>(record.loss_bits);
    if (record.done < 0) continue;
    if (loss == static_cast<double>(record.done) && record.busy_seconds == loss)
      ++whole;
    else
      ADD_FAILURE() << record.done << " with " << loss;
  }
  ending = true;
  writer.join();
  EXPECT_GT(whole, 0);
}

TEST_F(HeartbeatTest, RefusesWhatIsNone) {
  EXPECT_THROW((void)HeartbeatMemory::attach("/heartbeat_test.nothing"), Error);
  const int file = shm_open(name_.c_str(), O_RDWR, 0);
  ASSERT_EQ(ftruncate(file, 200), 0);
  EXPECT_THROW((void)HeartbeatMemory::attach(name_), Error);
  ASSERT_EQ(fchmod(file, 0644), 0);
  close(file);
  EXPECT_THROW((void)HeartbeatMemory::attach(name_), Error);
}

TEST(DurationCounts, BucketsHoldWhatTheySay) {
  for (int64_t ns = 1; ns < int64_t{1} << 40; ns = ns * 5 / 4 + 1) {
    const double upper = DurationCounts::upper_seconds(DurationCounts::bucket_of(ns));
    EXPECT_GE(upper, 1e-9 * static_cast<double>(ns)) << ns;
    EXPECT_LE(upper, 2.0e-9 * static_cast<double>(ns)) << ns;
  }
}

TEST(DurationCounts, Quantile) {
  DurationCounts counts;
  EXPECT_EQ(counts.quantile(0.99), 0);
  counts.counts[DurationCounts::bucket_of(1'000'000)] = 99;
  counts.counts[DurationCounts::bucket_of(5'000'000'000)] = 1;
  EXPECT_LT(counts.quantile(0.99), 0.002);
  EXPECT_GT(counts.quantile(0.995), 5.0);
}

TEST(ProgressLimits, LearnsFromTheRun) {
  constexpr auto kData = static_cast<size_t>(TrainPhase::data);
  ProgressLimits limits;
  EXPECT_EQ(limits.seconds(TrainPhase::data), ProgressLimits::kFirstTime);
  EXPECT_EQ(limits.seconds(TrainPhase::starting), ProgressLimits::kStart);
  std::array<DurationCounts, kTrainPhases> seen{};
  seen[kData].counts[DurationCounts::bucket_of(1'000'000)] = 10;
  limits.update(seen);
  EXPECT_EQ(limits.seconds(TrainPhase::data), ProgressLimits::kLeast);
  seen[kData].counts[DurationCounts::bucket_of(2'000'000'000)] = 10;
  limits.update(seen);
  EXPECT_GE(limits.seconds(TrainPhase::data), 8);
  EXPECT_LE(limits.seconds(TrainPhase::data), 16);
  // A gang's counts stay when the next one has none yet.
  limits.keep();
  limits.update({});
  EXPECT_GE(limits.seconds(TrainPhase::data), 8);
}

TEST(ProgressLimits, TheJobsOwnNumberHoldsButForTheStart) {
  const ProgressLimits limits(2.0);
  EXPECT_EQ(limits.seconds(TrainPhase::optimizer), 2);
  EXPECT_EQ(limits.seconds(TrainPhase::resuming), ProgressLimits::kStart);
}

}  // namespace
}  // namespace trident
