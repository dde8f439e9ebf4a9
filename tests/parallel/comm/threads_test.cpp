#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <tuple>

#include "core/error.h"
#include "parallel/comm/threads/thread_ranks.h"
#include "tests/parallel/comm/comm_suite.h"

namespace trident {
namespace {

using comm_suite::Case;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ThreadRanks : public testing::TestWithParam<std::tuple<Case, int>> {};

TEST_P(ThreadRanks, Do) {
  const auto& [suite_case, ranks] = GetParam();
  run_ranks(ranks, suite_case.run);
}

INSTANTIATE_TEST_SUITE_P(, ThreadRanks, testing::Combine(testing::ValuesIn(comm_suite::kCases), testing::Range(1, 9)),
                         comm_suite::NameOnRanks());

/// The same where buffers are out of one another's reach.
class PrivateMemory : public ThreadRanks {};

TEST_P(PrivateMemory, Do) {
  const auto& [suite_case, ranks] = GetParam();
  ThreadRanksOptions options;
  options.private_memory = true;
  run_ranks(ranks, suite_case.run, options);
}

INSTANTIATE_TEST_SUITE_P(, PrivateMemory,
                         testing::Combine(testing::ValuesIn(comm_suite::kCases), testing::Values(2, 3, 5)),
                         comm_suite::NameOnRanks());

ThreadRanksOptions with_timeout(milliseconds timeout) {
  ThreadRanksOptions options;
  options.comm.timeout = timeout;
  return options;
}

/// The error that a run ends with.
Error error_of(int ranks, const std::function<void(Communicator)>& rank_main, const ThreadRanksOptions& options = {}) {
  return comm_suite::error_of([&] { run_ranks(ranks, rank_main, options); });
}

TEST(ThreadRanksFailures, NamesTheRankThatDoesNotCome) {
  const auto start = std::chrono::steady_clock::now();
  const Error error = error_of(
      4,
      [](const Communicator& world) {
        const Communicator group = world.split(0, world.rank(), "dp");
        group.barrier();
        double one[1000] = {1.0};
        if (world.rank() != 2) group.all_reduce(std::span<double>(one));
      },
      with_timeout(milliseconds(300)));
  EXPECT_EQ(error.code(), ErrorCode::peer_lost);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("group dp"), HasSubstr("all_reduce #2"), HasSubstr("8000 bytes"),
                                  HasSubstr("not arrived: rank 2 (last call: #1 barrier)")));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(ThreadRanksFailures, NamesTheRankThatDoesNotComeToBeRead) {
  const Error error = error_of(
      3,
      [](const Communicator& world) {
        Tensor a = comm_suite::make_tensor(6, DType::fp32), scratch = comm_suite::make_tensor(6, DType::fp32);
        const std::vector<int64_t> counts(3, 2);
        const auto read = [](std::span<const std::byte* const>) { FAIL() << "there is nothing to read"; };
        if (world.rank() != 1) world.all_to_all_async(a, counts, scratch, counts, read).wait();
      },
      with_timeout(milliseconds(300)));
  EXPECT_EQ(error.code(), ErrorCode::peer_lost);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("all_to_all #1"), HasSubstr("not arrived: rank 1")));
}

// The peers' memory is still being read, so that a rank whose own reader is done may not go on.
TEST(ThreadRanksFailures, NamesTheRankThatDoesNotFinishReading) {
  std::atomic<bool> ended = false;
  const Error error = error_of(
      2,
      [&](const Communicator& world) {
        Tensor a = comm_suite::make_tensor(6, DType::fp32), scratch = comm_suite::make_tensor(6, DType::fp32);
        const std::vector<int64_t> counts(2, 3);
        const auto read = [&](std::span<const std::byte* const>) {
          while (world.rank() == 1 && !ended) std::this_thread::yield();
        };
        try {
          world.all_to_all_async(a, counts, scratch, counts, read).wait();
        } catch (const Error&) {
          ended = true;
          throw;
        }
        ended = true;
      },
      with_timeout(milliseconds(300)));
  EXPECT_THAT(error.what(), AllOf(HasSubstr("all_to_all #1"), HasSubstr("does not move on: rank 1")));
}

TEST(ThreadRanksFailures, NamesTheSenderThatDoesNotSend) {
  const Error error = error_of(
      2,
      [](const Communicator& world) {
        double one[1];
        if (world.rank() == 0) world.recv(std::span<double>(one), 1, 3);
      },
      with_timeout(milliseconds(200)));
  EXPECT_THAT(error.what(), AllOf(HasSubstr("recv of 8 bytes from rank 1 (tag 3)"), HasSubstr("rank 1 has not sent")));
}

TEST(ThreadRanksFailures, AQueuedCallNamesWhatTheFirstWaitsFor) {
  const Error error = error_of(
      2,
      [](const Communicator& world) {
        if (world.rank() == 1) return;
        Tensor a = comm_suite::make_tensor(8, DType::fp32);
        Pending first = world.all_reduce_async(a);
        world.barrier_async().wait();
      },
      with_timeout(milliseconds(200)));
  EXPECT_THAT(error.what(), AllOf(HasSubstr("all_reduce #1"), HasSubstr("rank 1")));
}

TEST(ThreadRanksFailures, DifferentCallsShowBothTraces) {
  const Error error = error_of(3, [](const Communicator& world) {
    Tensor a = comm_suite::make_tensor(16, DType::fp32);
    world.all_reduce(a);
    if (world.rank() == 1) {
      world.broadcast(a, 0);
    } else {
      world.all_reduce(a.flat_view(0, {8}));
    }
  });
  EXPECT_EQ(error.code(), ErrorCode::internal);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("ranks diverge at call #2"), HasSubstr("#2 broadcast(root 0) 16 fp32"),
                                  HasSubstr("#2 all_reduce(sum) 8 fp32"), HasSubstr("#1 all_reduce(sum) 16 fp32")));
}

TEST(ThreadRanksFailures, TheRankThatThrowsIsNamed) {
  const Error error = error_of(4, [](const Communicator& world) {
    if (world.rank() == 3) throw Error(ErrorCode::diverged, "train", "loss is nan");
    for (int i = 0; i < 1000; ++i) world.barrier();
  });
  EXPECT_EQ(error.code(), ErrorCode::diverged);
  EXPECT_EQ(error.problem(), "rank 3 of 4: loss is nan");
}

TEST(ThreadRanksFailures, WrongSizesAreRefusedBeforeAnythingIsSent) {
  const Error error = error_of(2, [](const Communicator& world) {
    Tensor a = comm_suite::make_tensor(9, DType::fp32);
    Tensor b = comm_suite::make_tensor(5, DType::fp32);
    world.reduce_scatter(a, b);
  });
  EXPECT_THAT(error.what(), HasSubstr("9 fp32 are not 2 times 5 fp32"));
}

TEST(ThreadRanksFailures, MessagesOfAnotherSizeAreRefused) {
  const Error error = error_of(2, [](const Communicator& world) {
    Tensor a = comm_suite::make_tensor(4 + world.rank(), DType::fp32);
    if (world.rank() == 0) {
      world.send(a, 1);
    } else {
      world.recv(a, 0);
    }
  });
  EXPECT_EQ(error.code(), ErrorCode::internal);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("16 bytes"), Not(HasSubstr("nan"))));
}

TEST(ThreadRanksFailures, TheWatchdogEndsARunThatNeverEnds) {
  ThreadRanksOptions options;
  options.watchdog = milliseconds(300);
  const Error error = error_of(
      2,
      [](const Communicator& world) {
        for (;;) world.barrier();
      },
      options);
  EXPECT_THAT(error.what(), HasSubstr("took longer than"));
}

class Recorder : public ProgressSink {
 public:
  void entered(const ProgressRecord& record) override { add("+", record); }
  void left(const ProgressRecord& record) override { add("-", record); }
  std::vector<std::string> lines;

 private:
  void add(const char* sign, const ProgressRecord& record) {
    lines.push_back(sign + std::string(record.group) + "#" + std::to_string(record.sequence) + " " +
                    std::string(to_string(record.op)) + " " + std::to_string(record.bytes));
  }
};

TEST(Progress, IsToldOfEveryCall) {
  Recorder recorders[2];
  run_ranks(2, [&](Communicator world) {
    world.set_progress_sink(&recorders[world.rank()]);
    const Communicator tp = world.split(0, world.rank(), "tp");
    Tensor a = comm_suite::make_tensor(10, DType::bf16);
    comm_suite::fill(a, 0);
    tp.all_reduce(a);
    if (tp.rank() == 0) {
      tp.send(a, 1);
    } else {
      tp.recv(a, 0);
    }
  });
  EXPECT_THAT(recorders[0].lines,
              testing::ElementsAre("+world#1 all_gather 32", "-world#1 all_gather 32", "+tp#1 all_reduce 20",
                                   "-tp#1 all_reduce 20", "+tp#0 send 20", "-tp#0 send 20"));
}

TEST(WaitedSeconds, NeverShrinkAndBelongToTheirGroup) {
  run_ranks(3, [](const Communicator& world) {
    const Communicator group = world.split(0, world.rank(), "dp"), idle = world.split(0, world.rank(), "pp");
    EXPECT_EQ(group.waited_seconds(), 0.0);
    double before = 0;
    for (int i = 0; i < 50; ++i) {
      group.barrier();
      EXPECT_GE(group.waited_seconds(), before);
      before = group.waited_seconds();
    }
    EXPECT_EQ(Communicator(group).waited_seconds(), before);  // a copy is the same group
    EXPECT_EQ(idle.waited_seconds(), 0.0);
  });
}

TEST(WaitedSeconds, WhatIsDoneIsNotWaitedFor) {
  run_ranks(2, [](const Communicator& world) {
    const Communicator group = world.split(0, world.rank(), "dp");
    Pending pending = group.barrier_async();
    Pending same = pending;
    while (!pending.test()) std::this_thread::yield();
    same.wait();
    EXPECT_EQ(group.waited_seconds(), 0.0);
  });
}

TEST(WaitedSeconds, CountAWaitUntilTheTimeout) {
  double waited = 0;
  (void)error_of(
      2,
      [&](const Communicator& world) {
        if (world.rank() == 1) return;
        try {
          world.barrier();
        } catch (const Error&) {
          waited = world.waited_seconds();
          throw;
        }
      },
      with_timeout(milliseconds(100)));
  EXPECT_GE(waited, 0.1);
}

TEST(SelfCommunicator, IsANoOp) {
  const Communicator self = Communicator::self();
  Tensor in = comm_suite::make_tensor(5, DType::fp32), out = comm_suite::make_tensor(5, DType::fp32);
  comm_suite::fill(in, 3);
  self.all_reduce(in);
  self.reduce_scatter(in, out);
  EXPECT_EQ(std::memcmp(in.raw(), out.raw(), in.bytes()), 0);
  comm_suite::fill(out, 1);
  self.all_to_all(in, out);
  EXPECT_EQ(std::memcmp(in.raw(), out.raw(), in.bytes()), 0);
  const int64_t counts[] = {5};
  int reads = 0;
  self.all_to_all_async(in, counts, out, counts,
                        [&](std::span<const std::byte* const> parts) {
                          ++reads;
                          EXPECT_EQ(parts[0], static_cast<const std::byte*>(in.raw()));
                        })
      .wait();
  EXPECT_EQ(reads, 1);
  EXPECT_EQ(self.waited_seconds(), 0.0);
  EXPECT_EQ(self.split(4, 0, "x").size(), 1);
  EXPECT_THROW(self.broadcast(in, 1), Error);
}

TEST(MetaTensors, CommunicateNothing) {
  run_ranks(2, [](const Communicator& world) {
    HeapAllocator meta(Device::meta());
    Tensor t = meta.allocate({1000}, DType::fp32);
    if (world.rank() == 0) world.all_reduce(t);  // rank 1 does not come, and need not
    EXPECT_EQ(world.sequence(), 0u);
  });
}

}  // namespace
}  // namespace trident
