#include "checkpoint/snapshot.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/stream_copy.h"
#include "core/error.h"

namespace trident {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kBytes = 10000;
// Where the header of a segment keeps these: a change here is a change of format.
constexpr off_t kMagicAt = 0;
constexpr off_t kStepAt = 184;

/// A name of this test's own, removed whatever happens.
class SegmentName {
 public:
  SegmentName() : name_("trident.test." + std::to_string(getpid())) { SnapshotMemory::remove(name_); }
  ~SegmentName() { shm_unlink(name_.c_str()); }
  SegmentName(const SegmentName&) = delete;
  SegmentName& operator=(const SegmentName&) = delete;

  operator const std::string&() const { return name_; }  // NOLINT(google-explicit-constructor)
  bool exists() const {
    return is_open([](int) {});
  }
  void overwrite(off_t at, const std::string& bytes) const {
    EXPECT_TRUE(is_open([&](int file) {
      EXPECT_EQ(pwrite(file, bytes.data(), bytes.size(), at), static_cast<ssize_t>(bytes.size()));
    }));
  }
  void truncate(off_t bytes) const {
    EXPECT_TRUE(is_open([&](int file) { EXPECT_EQ(ftruncate(file, bytes), 0); }));
  }
  void open_to_all() const {
    EXPECT_TRUE(is_open([](int file) { EXPECT_EQ(fchmod(file, 0666), 0); }));
  }

 private:
  bool is_open(const std::function<void(int)>& use) const {
    const int file = shm_open(name_.c_str(), O_RDWR, 0);
    if (file < 0) return false;
    use(file);
    close(file);
    return true;
  }
  std::string name_;
};

SnapshotIdentity identity() { return {.run_id = "run-a", .rank = 1, .ranks = 4, .layout = {.high = 5, .low = 6}}; }

void fill(SnapshotMemory& memory, int index, int64_t step, char value) {
  const auto bytes = memory.begin_fill(index);
  std::fill(bytes.begin(), bytes.end(), static_cast<std::byte>(value));
  memory.end_fill(index, step, step * 10);
}

bool holds(const SnapshotMemory& memory, int index, char value) {
  const auto bytes = memory.content(index);
  return std::all_of(bytes.begin(), bytes.end(), [value](std::byte b) { return b == static_cast<std::byte>(value); });
}

/// Runs `work` in a process that ends without a clean-up, as a killed one does.
void in_a_process_that_dies(const std::function<void()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    try {
      work();
    } catch (...) {
      _exit(1);
    }
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
}

void leave_two_snapshots(const std::string& name) {
  in_a_process_that_dies([&] {
    SnapshotMemory memory(name, identity(), kBytes);
    fill(memory, 0, 7, 'a');
    fill(memory, 1, 8, 'b');
  });
}

void expect_made_anew(const std::string& name, const SnapshotIdentity& identity, int64_t bytes) {
  SnapshotMemory memory(name, identity, bytes);
  EXPECT_FALSE(memory.attached());
  for (const int index : {0, 1}) {
    EXPECT_FALSE(memory.step(index));
    EXPECT_EQ(memory.content(index).size(), static_cast<size_t>(bytes));
    EXPECT_TRUE(holds(memory, index, 0));
  }
  fill(memory, 0, 1, 'n');
  EXPECT_EQ(memory.step(0), 1);
}

TEST(SnapshotMemory, PrivateBuffersStartEmptyAndHoldWhatIsFilled) {
  SnapshotMemory memory("", identity(), kBytes);
  EXPECT_FALSE(memory.attached());
  EXPECT_FALSE(memory.step(0));
  EXPECT_FALSE(memory.step(1));
  fill(memory, 1, 0, 'x');
  EXPECT_FALSE(memory.step(0));
  EXPECT_EQ(memory.step(1), 0);
  fill(memory, 0, 3, 'y');
  EXPECT_EQ(memory.step(0), 3);
  EXPECT_EQ(memory.consumed_samples(0), 30);
  EXPECT_TRUE(holds(memory, 0, 'y'));
  EXPECT_TRUE(holds(memory, 1, 'x'));
}

TEST(SnapshotMemory, ABufferIsEmptyWhileItIsFilled) {
  SnapshotMemory memory("", identity(), kBytes);
  fill(memory, 0, 3, 'y');
  static_cast<void>(memory.begin_fill(0));
  EXPECT_FALSE(memory.step(0));
  memory.end_fill(0, 4, 40);
  EXPECT_EQ(memory.step(0), 4);
  EXPECT_THROW(memory.end_fill(0, 5, 50), Error) << "not begun";
}

TEST(SnapshotMemory, ARankWithoutStateHasBuffersWithoutBytes) {
  SnapshotMemory memory("", identity(), 0);
  EXPECT_TRUE(memory.begin_fill(1).empty());
  memory.end_fill(1, 2, 20);
  EXPECT_EQ(memory.step(1), 2);
}

TEST(SnapshotMemory, KnowsABitThatChanges) {
  SnapshotMemory memory("", identity(), kBytes);
  fill(memory, 0, 3, 'x');
  fill(memory, 1, 4, 'y');
  EXPECT_TRUE(memory.intact(0));
  EXPECT_TRUE(memory.intact(1));
  auto* const bytes = const_cast<std::byte*>(memory.content(1).data());
  bytes[kBytes - 1] ^= std::byte{1};
  EXPECT_TRUE(memory.intact(0));
  EXPECT_FALSE(memory.intact(1));
  memory.clear(1);
  EXPECT_EQ(memory.step(0), 3);
  EXPECT_FALSE(memory.step(1));
}

TEST(SnapshotMemory, ClearEmptiesBoth) {
  SnapshotMemory memory("", identity(), kBytes);
  fill(memory, 0, 3, 'x');
  fill(memory, 1, 4, 'y');
  memory.clear();
  EXPECT_FALSE(memory.step(0));
  EXPECT_FALSE(memory.step(1));
  fill(memory, 1, 1, 'z');
  EXPECT_EQ(memory.step(1), 1);
}

TEST(SnapshotMemory, NamedMemoryOutlivesItsProcessUntilItIsRemoved) {
  const SegmentName name;
  leave_two_snapshots(name);
  {
    SnapshotMemory memory(name, identity(), kBytes);
    EXPECT_TRUE(memory.attached());
    EXPECT_EQ(memory.step(0), 7);
    EXPECT_EQ(memory.step(1), 8);
    EXPECT_EQ(memory.consumed_samples(1), 80);
    EXPECT_TRUE(holds(memory, 0, 'a'));
    EXPECT_TRUE(holds(memory, 1, 'b'));
  }
  EXPECT_TRUE(name.exists());
  SnapshotMemory::remove(name);
  EXPECT_FALSE(name.exists());
  SnapshotMemory::remove(name);
}

TEST(SnapshotMemory, TooLittleSharedMemoryIsAnErrorThatLeavesNothing) {
  struct statvfs room {};
  if (statvfs("/dev/shm", &room) != 0 || room.f_blocks == 0) GTEST_SKIP() << "no limited /dev/shm";
  const SegmentName name;
  try {
    const SnapshotMemory memory(name, identity(), int64_t{1} << 45);
    FAIL() << "fits";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::io);
    EXPECT_THAT(error.what(), HasSubstr(static_cast<const std::string&>(name)));
    EXPECT_THAT(error.what(), HasSubstr("MiB are free"));
  }
  EXPECT_FALSE(name.exists());
}

TEST(SnapshotMemory, ANameThatTheSystemRefusesIsAnError) {
  EXPECT_THROW(SnapshotMemory("no/such/name", identity(), kBytes), Error);
  EXPECT_THROW(SnapshotMemory(std::string(300, 'n'), identity(), kBytes), Error);
  EXPECT_THROW(SnapshotMemory("", {.run_id = std::string(128, 'r')}, kBytes), Error);
}

TEST(CheckpointSceptic, T21TornSequenceLosesThatBufferOnly) {
  const SegmentName name;
  leave_two_snapshots(name);
  for (int death = 0; death < 2; ++death) {  // the second finds the number odd already
    in_a_process_that_dies([&] {
      SnapshotMemory memory(name, identity(), kBytes);
      const auto bytes = memory.begin_fill(0);
      std::fill_n(bytes.begin(), kBytes / 2, std::byte{'c'});
    });
  }
  SnapshotMemory memory(name, identity(), kBytes);
  EXPECT_TRUE(memory.attached());
  EXPECT_FALSE(memory.step(0));
  EXPECT_THROW(static_cast<void>(memory.consumed_samples(0)), Error);
  EXPECT_EQ(memory.step(1), 8);
  EXPECT_TRUE(holds(memory, 1, 'b'));
  fill(memory, 0, 9, 'd');
  EXPECT_EQ(memory.step(0), 9);
}

TEST(CheckpointSceptic, T21AnotherRunLayoutRankOrSizeIsNotAttached) {
  const SegmentName name;
  auto other_run = identity();
  other_run.run_id = "run-b";
  auto longer_run = identity();
  longer_run.run_id = "run-a2";
  auto other_rank = identity();
  other_rank.rank = 2;
  auto other_ranks = identity();
  other_ranks.ranks = 5;
  auto other_layout = identity();
  other_layout.layout.low = 7;
  for (const auto& other : {other_run, longer_run, other_rank, other_ranks, other_layout}) {
    leave_two_snapshots(name);
    expect_made_anew(name, other, kBytes);
  }
  for (const int64_t bytes : {int64_t{0}, kBytes - 1, kBytes + 1, kBytes + 4096}) {
    leave_two_snapshots(name);
    expect_made_anew(name, identity(), bytes);
  }
}

TEST(CheckpointSceptic, T21AHostileHeaderIsNotAttached) {
  const SegmentName name;
  for (const std::string& bytes : {std::string(1, 'x'), std::string(4096, '\xff'), std::string(4096, '\0')}) {
    leave_two_snapshots(name);
    name.overwrite(kMagicAt, bytes);
    expect_made_anew(name, identity(), kBytes);
  }
  leave_two_snapshots(name);
  name.truncate(4096 + kBytes);
  expect_made_anew(name, identity(), kBytes);
  leave_two_snapshots(name);
  name.open_to_all();
  expect_made_anew(name, identity(), kBytes);
  leave_two_snapshots(name);
  name.overwrite(kStepAt, std::string(8, '\xff'));
  const SnapshotMemory memory(name, identity(), kBytes);
  EXPECT_FALSE(memory.step(0)) << "a negative step";
  EXPECT_EQ(memory.step(1), 8);
}

/// Fills one buffer after the other, each with its step everywhere, and reports each on the pipe, until it is killed.
[[noreturn]] void fill_for_ever(const std::string& name, int64_t words, int pipe) {
  SnapshotMemory memory(name, identity(), words * int64_t{8});
  const int64_t last = std::max(memory.step(0).value_or(0), memory.step(1).value_or(0));
  std::vector<int64_t> state(static_cast<size_t>(words));
  for (int64_t step = last + 1;; ++step) {
    std::fill(state.begin(), state.end(), step);
    const int index = static_cast<int>(step % 2);
    stream_copy(memory.begin_fill(index), std::as_bytes(std::span(state)));
    memory.end_fill(index, step, step * 10);
    if (write(pipe, &step, sizeof(step)) != sizeof(step)) _exit(1);
  }
}

bool is_whole(const SnapshotMemory& memory, int index, int64_t step) {
  std::vector<int64_t> state(memory.content(index).size() / 8);
  std::memcpy(state.data(), memory.content(index).data(), memory.content(index).size());
  return std::all_of(state.begin(), state.end(), [step](int64_t word) { return word == step; });
}

TEST(CheckpointSceptic, T21KilledAnywhereInAFillOneSnapshotIsWhole) {
  const SegmentName name;
  constexpr int64_t kWords = 100'000;
  const int kills = std::getenv("TRIDENT_LONG_TESTS") != nullptr ? 1000 : 30;
  for (int kill_at = 0; kill_at < kills; ++kill_at) {
    std::array<int, 2> ends{};
    ASSERT_EQ(pipe(ends.data()), 0);
    const pid_t child = fork();
    if (child == 0) fill_for_ever(name, kWords, ends[1]);
    close(ends[1]);
    int64_t reported = 0;
    for (int step = 0; step <= kill_at % 3; ++step) {
      ASSERT_EQ(read(ends[0], &reported, sizeof(reported)), static_cast<ssize_t>(sizeof(reported)));
    }
    usleep(static_cast<useconds_t>(kill_at * 37 % 500));  // spreads the kills; any time is a good one
    kill(child, SIGKILL);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    close(ends[0]);

    const SnapshotMemory memory(name, identity(), kWords * 8);
    ASSERT_TRUE(memory.attached());
    int64_t newest = 0;
    for (const int index : {0, 1}) {
      if (const auto step = memory.step(index)) {
        EXPECT_TRUE(is_whole(memory, index, *step)) << *step;
        EXPECT_EQ(memory.consumed_samples(index), *step * 10);
        newest = std::max(newest, *step);
      }
    }
    EXPECT_GE(newest, reported);
  }
}

TEST(CheckpointSceptic, T21AStartCutOffBeforeTheHeaderIsMadeAnew) {
  const SegmentName name;
  const int file = shm_open(static_cast<const std::string&>(name).c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
  ASSERT_GE(file, 0);
  ASSERT_EQ(ftruncate(file, 4096 + 2 * 12288), 0);  // sparse: no page has memory
  close(file);
  expect_made_anew(name, identity(), kBytes);
}

}  // namespace
}  // namespace trident
