#include "checkpoint/snapshot_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <functional>
#include <optional>
#include <semaphore>
#include <span>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"

namespace trident {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr size_t kValues = 5000;

/// A state of two arrays with a gap between their places, and a writer that keeps what it was given. A test that
/// holds it makes each write wait until it is let go.
class WriterTest : public ::testing::TestWithParam<CopyOn> {
 public:
  WriterTest() : memory_("", {}, 2 * kBytes + 64) { set(0); }
  ~WriterTest() override { let_go_.release(100); }  // a test that failed must not hang

 protected:
  void start() {
    writer_.emplace(
        memory_,
        std::vector<CopyPiece>{{.from = bytes_of(weights_), .bytes = kBytes, .to = 0},
                               {},
                               {.from = bytes_of(moments_), .bytes = kBytes, .to = kBytes + 64}},
        [this](int64_t step, std::span<const std::byte> content) { write(step, content); }, GetParam());
  }
  void set(int64_t value) {
    weights_.assign(kValues, value);
    moments_.assign(kValues, -value);
  }
  /// One step of training, whose state is its number everywhere.
  bool train(int64_t step, bool write) {
    writer_->wait_copied();
    set(step);
    return writer_->snapshot(step, step * 8, write);
  }
  std::string wait_outcome(int64_t step) {
    EXPECT_TRUE(writer_->wait_finished());
    const auto outcome = writer_->finished();
    EXPECT_TRUE(outcome && outcome->step == step);
    return outcome ? outcome->error : "no outcome";
  }
  bool is_state_of(std::span<const std::byte> content, int64_t step) const {
    const std::vector<int64_t> weights(kValues, step);
    const std::vector<int64_t> moments(kValues, -step);
    return std::memcmp(content.data(), weights.data(), kBytes) == 0 &&
           std::memcmp(content.data() + kBytes + 64, moments.data(), kBytes) == 0;
  }
  /// The steps that the memory holds whole, each with that step's state.
  std::vector<int64_t> held() {
    writer_->wait_copied();
    std::vector<int64_t> steps;
    for (const int index : {0, 1}) {
      if (const auto step = memory_.step(index)) {
        EXPECT_TRUE(is_state_of(memory_.content(index), *step));
        EXPECT_EQ(memory_.seal(index)->consumed_samples, *step * 8);
        EXPECT_FALSE(memory_.problem_with(index)) << *step;
        steps.push_back(*step);
      }
    }
    std::sort(steps.begin(), steps.end());
    return steps;
  }

  static constexpr int64_t kBytes = kValues * sizeof(int64_t);
  bool hold_ = false;  ///< set before start()
  std::counting_semaphore<> begun_{0};
  std::counting_semaphore<> let_go_{0};
  std::function<void()> on_write_ = [] {};  ///< set before start()
  std::vector<int64_t> written_;            ///< of the writer thread until its outcome is seen
  std::vector<int64_t> weights_;
  std::vector<int64_t> moments_;
  SnapshotMemory memory_;
  std::optional<SnapshotWriter> writer_;

 private:
  static const std::byte* bytes_of(std::vector<int64_t>& values) {
    values.reserve(kValues);
    return reinterpret_cast<const std::byte*>(values.data());
  }
  void write(int64_t step, std::span<const std::byte> content) {
    begun_.release();
    if (hold_) let_go_.acquire();
    on_write_();
    EXPECT_TRUE(is_state_of(content, step)) << step;
    written_.push_back(step);
  }
};

INSTANTIATE_TEST_SUITE_P(Checkpoint, WriterTest, ::testing::Values(CopyOn::training_thread, CopyOn::own_thread));
using CheckpointSceptic = WriterTest;
INSTANTIATE_TEST_SUITE_P(Checkpoint, CheckpointSceptic, ::testing::Values(CopyOn::training_thread, CopyOn::own_thread));

TEST_P(WriterTest, SnapshotsThatAreNotWrittenCycle) {
  start();
  EXPECT_THAT(held(), IsEmpty());
  for (int64_t step = 1; step <= 5; ++step) {
    EXPECT_TRUE(train(step, false));
    EXPECT_GT(writer_->wait_copied(), 0);
    if (step > 1) {
      EXPECT_THAT(held(), ElementsAre(step - 1, step));
    }
  }
  EXPECT_THAT(writer_->pending(), IsEmpty());
  EXPECT_FALSE(writer_->finished());
  EXPECT_FALSE(writer_->wait_finished());
}

TEST_P(WriterTest, ASynchronousSaveIsASnapshotAndAWait) {
  start();
  for (int64_t step = 1; step <= 3; ++step) {
    ASSERT_TRUE(train(step, true));
    EXPECT_EQ(wait_outcome(step), "");
    writer_->release(step);
  }
  EXPECT_THAT(written_, ElementsAre(1, 2, 3));
}

TEST_P(WriterTest, WhileOneBufferIsKeptTheOtherCycles) {
  hold_ = true;
  start();
  ASSERT_TRUE(train(1, true));
  for (int64_t step = 2; step <= 4; ++step) {
    EXPECT_TRUE(train(step, false));
    EXPECT_THAT(held(), ElementsAre(1, step));
  }
  EXPECT_FALSE(writer_->finished());
  let_go_.release();
  EXPECT_EQ(wait_outcome(1), "");
  EXPECT_THAT(writer_->pending(), ElementsAre(1)) << "kept until the release, written or not";
  EXPECT_TRUE(train(5, false));
  EXPECT_THAT(held(), ElementsAre(1, 5));
  writer_->release(1);
  EXPECT_TRUE(train(6, false));
  EXPECT_THAT(held(), ElementsAre(5, 6)) << "the newest stays";
}

TEST_P(WriterTest, ReleasesComeInAnyOrderAndOnceEach) {
  start();
  ASSERT_TRUE(train(1, true));
  ASSERT_TRUE(train(2, true));
  ASSERT_TRUE(writer_->wait_finished());
  EXPECT_THROW(writer_->release(1), Error) << "not reported";
  EXPECT_EQ(wait_outcome(1), "");
  EXPECT_EQ(wait_outcome(2), "");
  EXPECT_FALSE(writer_->finished()) << "each is reported once";
  writer_->release(2);
  EXPECT_THROW(writer_->release(2), Error);
  EXPECT_THAT(writer_->pending(), ElementsAre(1));
  EXPECT_TRUE(train(3, true));
  EXPECT_THAT(held(), ElementsAre(1, 3));
  writer_->release(1);
  EXPECT_EQ(wait_outcome(3), "");
  writer_->release(3);
  EXPECT_THAT(writer_->pending(), IsEmpty());
}

TEST_P(WriterTest, WhatAWriteThrowsIsItsOutcome) {
  int write = 0;
  on_write_ = [&] {
    switch (++write) {
      case 1: throw Error(ErrorCode::io, "disk", "is full", "make room");
      case 2: throw std::runtime_error("");
      case 3: throw 3;  // NOLINT(hicpp-exception-baseclass)
      default: break;
    }
  };
  start();
  const std::array<std::string, 4> errors{"disk: is full; make room", "unknown error", "unknown error", ""};
  for (int64_t step = 1; step <= 4; ++step) {
    ASSERT_TRUE(train(step, true));
    EXPECT_EQ(wait_outcome(step), errors[static_cast<size_t>(step - 1)]);
    writer_->release(step);
  }
  EXPECT_THAT(written_, ElementsAre(4));
}

TEST_P(WriterTest, TwoSnapshotsWithoutAWaitBetweenAreABug) {
  start();
  ASSERT_TRUE(train(1, false));
  EXPECT_THROW(static_cast<void>(writer_->snapshot(2, 16, false)), Error);
  EXPECT_THAT(held(), ElementsAre(1));
}

TEST_P(WriterTest, TheEndWaitsForTheWriteThatRuns) {
  hold_ = true;
  start();
  ASSERT_TRUE(train(1, true));
  ASSERT_TRUE(train(2, true));
  begun_.acquire();
  std::thread end([this] { writer_.reset(); });
  let_go_.release(2);  // the second write may have begun before the end did
  end.join();
  EXPECT_FALSE(written_.empty());
  EXPECT_EQ(written_.front(), 1);
}

TEST_P(WriterTest, TheEndFinishesTheCopyThatRuns) {
  start();
  ASSERT_TRUE(train(1, false));
  writer_.reset();
  EXPECT_EQ(memory_.step(0).value_or(memory_.step(1).value_or(-1)), 1);
}

TEST_P(WriterTest, AfterARestartTheOlderSnapshotGoesFirst) {
  for (const auto& [index, step] : {std::pair(0, 9), std::pair(1, 8)}) {
    BlockHasher hasher;
    hasher.update(memory_.begin_fill(index));
    memory_.end_fill(index, {step, step * 8, 0}, hasher.finish());
  }
  start();
  ASSERT_TRUE(train(10, false));
  writer_->wait_copied();
  EXPECT_EQ(memory_.step(0), 9);
  EXPECT_EQ(memory_.step(1), 10);
}

TEST_P(WriterTest, ItsThreadsLeaveSignalsToTheMainThread) {
  sigset_t terminate;
  sigemptyset(&terminate);
  sigaddset(&terminate, SIGTERM);
  sigset_t mask_before;
  pthread_sigmask(SIG_UNBLOCK, &terminate, &mask_before);
  bool blocked = false;
  std::array<char, 16> name{};
  on_write_ = [&] {
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    blocked = sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGUSR1) == 1 && sigismember(&mask, SIGINT) == 1 &&
              sigismember(&mask, SIGSEGV) == 0;
    pthread_getname_np(pthread_self(), name.data(), name.size());
  };
  start();
  ASSERT_TRUE(train(1, true));
  EXPECT_EQ(wait_outcome(1), "");
  EXPECT_TRUE(blocked);
  EXPECT_STREQ(name.data(), "snapshot-write");
  sigset_t mask_after;
  pthread_sigmask(SIG_BLOCK, nullptr, &mask_after);
  EXPECT_EQ(sigismember(&mask_after, SIGTERM), 0);
  pthread_sigmask(SIG_SETMASK, &mask_before, nullptr);
}

TEST_P(WriterTest, AWaitForAWriteHasALimit) {
  hold_ = true;
  start();
  ASSERT_TRUE(train(1, true));
  EXPECT_FALSE(writer_->wait_finished(std::chrono::milliseconds(1)));
  let_go_.release();
  EXPECT_TRUE(writer_->wait_finished(std::chrono::hours(1)));
}

TEST(SnapshotWriter, RefusesAPieceThatLeavesTheBuffer) {
  SnapshotMemory memory("", {}, 100);
  const std::array<std::byte, 200> state{};
  const auto make = [&](int64_t bytes, int64_t to) {
    SnapshotWriter(
        memory, {{.from = state.data(), .bytes = bytes, .to = to}}, [](auto, auto) {}, CopyOn::own_thread);
  };
  make(100, 0);
  make(0, 100);
  EXPECT_THROW(make(101, 0), Error);
  EXPECT_THROW(make(50, 51), Error);
  EXPECT_THROW(make(-1, 0), Error);
  EXPECT_THROW(make(1, -1), Error);
  const std::vector<CopyPiece> overlapping{{state.data(), 50, 0}, {state.data(), 50, 49}};
  EXPECT_THROW(SnapshotWriter(memory, overlapping, [](auto, auto) {}), Error);
}

/// Snapshots of steps in a memory of so many buffers, one of them written until `release`.
class KeptSteps {
 public:
  explicit KeptSteps(int buffers) : memory_("", {}, 100, buffers) {}
  ~KeptSteps() { release_.release(); }
  KeptSteps(const KeptSteps&) = delete;
  KeptSteps& operator=(const KeptSteps&) = delete;

  SnapshotMemory& memory() { return memory_; }
  std::vector<int64_t> after(int64_t step, bool write = false) {
    writer_.wait_copied();
    EXPECT_TRUE(writer_.snapshot(step, step, write));
    writer_.wait_copied();
    std::vector<int64_t> steps;
    for (int index = 0; index < memory_.buffers(); ++index)
      if (memory_.step(index)) steps.push_back(*memory_.step(index));
    std::sort(steps.begin(), steps.end());
    return steps;
  }

 private:
  SnapshotMemory memory_;
  const std::array<std::byte, 100> state_{};
  std::counting_semaphore<> release_{0};
  SnapshotWriter writer_{
      memory_, {{.from = state_.data(), .bytes = 100, .to = 0}}, [this](auto, auto) { release_.acquire(); }};
};

TEST(SnapshotWriter, KeptStepsStayWhileTwoOthersTakeTurns) {
  KeptSteps kept(SnapshotMemory::kCopiedBuffers);
  kept.memory().keep({1, 3});
  for (const int64_t step : {1, 2, 3, 4}) (void)kept.after(step);
  EXPECT_THAT(kept.after(5), ElementsAre(1, 3, 4, 5));
  EXPECT_THAT(kept.after(6), ElementsAre(1, 3, 5, 6));
  kept.memory().keep({3, 7});
  EXPECT_THAT(kept.after(7), ElementsAre(3, 5, 6, 7));
  EXPECT_THAT(kept.after(8), ElementsAre(3, 6, 7, 8));
  EXPECT_THAT(kept.after(9), ElementsAre(3, 7, 8, 9));
}

// A write holds one buffer: the step that is on another node already is kept before the one that is on its way.
TEST(SnapshotWriter, OfTheKeptStepsTheFirstStaysLonger) {
  KeptSteps kept(SnapshotMemory::kCopiedBuffers);
  kept.memory().keep({1, 2});
  (void)kept.after(1);
  (void)kept.after(2);
  (void)kept.after(3, true);
  (void)kept.after(4);
  EXPECT_THAT(kept.after(5), ElementsAre(1, 3, 4, 5));
  EXPECT_THAT(kept.after(6), ElementsAre(1, 3, 5, 6));
}

TEST_P(CheckpointSceptic, T11WhatIsWrittenIsTheStateBeforeTheUpdate) {
  hold_ = true;
  start();
  ASSERT_TRUE(train(1, true));
  begun_.acquire();  // the writer has begun and stands still
  writer_->wait_copied();
  set(777);
  let_go_.release();
  EXPECT_EQ(wait_outcome(1), "");
  EXPECT_THAT(written_, ElementsAre(1)) << "write() compares every value";
  writer_->release(1);
  for (int64_t step = 2; step <= 50; ++step) {  // overwritten right after the copy, whenever the writer comes to it
    ASSERT_TRUE(train(step, true));
    writer_->wait_copied();
    set(-step);
    let_go_.release();
    ASSERT_EQ(wait_outcome(step), "");
    writer_->release(step);
  }
  EXPECT_EQ(written_.size(), 50U);
}

TEST_P(CheckpointSceptic, T12AWriterThatStandsStillNeverTakesMoreThanTwoBuffers) {
  hold_ = true;
  start();
  ASSERT_TRUE(train(1, true));
  ASSERT_TRUE(train(2, true));
  for (int64_t step = 3; step <= 20; ++step) {
    EXPECT_FALSE(train(step, step % 2 == 0)) << step;
    EXPECT_THAT(held(), ElementsAre(1, 2));
    EXPECT_THAT(writer_->pending(), ElementsAre(1, 2));
  }
  let_go_.release();
  EXPECT_EQ(wait_outcome(1), "");
  EXPECT_FALSE(train(21, true)) << "written, not released";
  writer_->release(1);
  EXPECT_TRUE(train(22, true));
  EXPECT_FALSE(train(23, false));
  let_go_.release(2);
  EXPECT_EQ(wait_outcome(2), "");
  EXPECT_EQ(wait_outcome(22), "");
  writer_->release(2);
  writer_->release(22);
  EXPECT_TRUE(train(24, false));
  EXPECT_THAT(held(), ElementsAre(22, 24));
  EXPECT_THAT(written_, ElementsAre(1, 2, 22)) << "in order";
}

}  // namespace
}  // namespace trident
