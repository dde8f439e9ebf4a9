#include "train/checkpointer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <latch>
#include <utility>

#include "checkpoint/forwarding_files.h"
#include "core/error.h"
#include "tests/scratch_dir.h"
#include "tests/train/saving.h"
#include "tests/train/test_memory.h"

namespace trident::testing {
namespace {

namespace fs = std::filesystem;
using test::ScratchDir;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

LayoutRun two_by_two() { return small_run(2, 2, DType::fp32); }

/// The system's files, but what a test forbids or holds up.
class TestFiles : public ForwardingFiles {
 public:
  std::unique_ptr<WritableFile> create(const fs::path& path) override {
    gate();
    if (full && path.filename() == "rank_00003.h5")
      throw Error(ErrorCode::io, "test", path.string() + ": No space left on device");
    return posix_file_system().create(path);
  }

  void hang() {
    const std::lock_guard lock(mutex_);
    hangs_ = true;
  }
  void go_on() {
    const std::lock_guard lock(mutex_);
    hangs_ = false;
    changed_.notify_all();
  }

  std::atomic<bool> full = false;

 private:
  void gate() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !hangs_; });
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool hangs_ = false;
};

std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
  return names;
}

/// Every rank of a training gets a checkpointer; `work` runs on all of them.
template <class Work>
void with_checkpointer(const LayoutRun& run, const fs::path& root, FileSystem& files, const Work& work,
                       const std::string& memory = {}) {
  (void)train(run, {.end = [&](const Engine& engine) {
                CheckpointerOptions options = options_of(run, root);
                options.files = &files;
                options.memory = memory;
                Checkpointer checkpointer(engine, std::move(options));
                work(engine, checkpointer);
              }});
}

TEST(Checkpointer, WithoutALeaseNothingBecomesVisible) {
  const ScratchDir scratch;
  std::atomic<bool> leased = true;
  (void)train(two_by_two(), {.end = [&](const Engine& engine) {
                const Communicator& world = engine.mesh().world();
                CheckpointerOptions options = options_of(two_by_two(), scratch / "root");
                options.may_commit = [&] { return leased.load(); };
                Checkpointer checkpointer(engine, std::move(options));
                ASSERT_TRUE(checkpointer.save(1, 4));
                EXPECT_EQ(checkpointer.finish().at(0).error, "");
                world.barrier();
                leased = false;
                ASSERT_TRUE(checkpointer.save(2, 8));
                EXPECT_THAT(checkpointer.finish().at(0).error, HasSubstr("lease has run out"));
                world.barrier();
                if (world.rank() == 0) {
                  EXPECT_THAT(names_in(scratch / "root"), UnorderedElementsAre("step_00000001", "latest", ".writer"));
                }
                leased = true;
                world.barrier();
                ASSERT_TRUE(checkpointer.save(3, 12));
                EXPECT_EQ(checkpointer.finish().at(0).error, "");
              }});
}

TEST(Checkpointer, T4AFullDiskOfOneRankIsToldToAllAndLeavesNothing) {
  const ScratchDir scratch;
  TestFiles files;
  with_checkpointer(two_by_two(), scratch / "root", files, [&](const Engine& engine, Checkpointer& checkpointer) {
    const Communicator& world = engine.mesh().world();
    ASSERT_TRUE(checkpointer.save(1, 4));
    EXPECT_EQ(checkpointer.finish().at(0).error, "");
    world.barrier();
    files.full = true;
    ASSERT_TRUE(checkpointer.save(2, 8));
    const auto outcomes = checkpointer.finish();
    ASSERT_EQ(outcomes.size(), 1U);
    EXPECT_THAT(outcomes[0].error, HasSubstr("rank 3: "));
    EXPECT_THAT(outcomes[0].error, HasSubstr("No space left on device"));
    if (world.rank() == 0) {
      EXPECT_THAT(names_in(scratch / "root"), UnorderedElementsAre("step_00000001", "latest", ".writer"));
    }
    world.barrier();
    files.full = false;
    ASSERT_TRUE(checkpointer.save(3, 12));
    EXPECT_EQ(checkpointer.finish().at(0).error, "");
  });
  EXPECT_EQ(CheckpointRoot(scratch / "root").list().at(0).step, 3);
}

TEST(Checkpointer, T12StorageThatHangsIsSkippedAndNeverWaitedFor) {
  const ScratchDir scratch;
  TestFiles files;
  with_checkpointer(two_by_two(), scratch / "root", files, [&](const Engine& engine, Checkpointer& checkpointer) {
    const Communicator& world = engine.mesh().world();
    files.hang();
    world.barrier();
    EXPECT_TRUE(checkpointer.save(1, 4));
    EXPECT_TRUE(checkpointer.poll().empty());
    EXPECT_TRUE(checkpointer.save(2, 8));
    EXPECT_TRUE(checkpointer.full());
    EXPECT_FALSE(checkpointer.save(3, 12));
    checkpointer.snapshot(3, 12);
    (void)checkpointer.wait_copied();
    EXPECT_TRUE(checkpointer.poll().empty());
    world.barrier();
    files.go_on();
    const auto outcomes = checkpointer.finish();
    ASSERT_EQ(outcomes.size(), 2U);
    EXPECT_EQ(outcomes[0].step, 1);
    EXPECT_EQ(outcomes[1].step, 2);
    EXPECT_TRUE(checkpointer.save(4, 16));
    EXPECT_EQ(checkpointer.finish().at(0).error, "");
  });
}

TEST(Checkpointer, ACopyThatIsNotEqualIsNamedWithItsRanks) {
  const ScratchDir scratch;
  std::atomic<int> named = 0;
  with_checkpointer(two_by_two(), scratch / "root", posix_file_system(),
                    [&](const Engine& engine, Checkpointer& checkpointer) {
                      const int flipped = engine.mesh().rank_at({1, 1, 0});
                      if (engine.mesh().world().rank() == flipped) {
                        for (const OwnedPiece& piece : engine.pieces()) {
                          if (piece.parameter->name != "final_norm.weight" &&
                              piece.parameter->name != "layers.0.attention_norm.weight")
                            continue;
                          piece.exp_avg.data<float>()[0] += 1.0F;
                          break;
                        }
                      }
                      ASSERT_TRUE(checkpointer.save(1, 4));
                      try {
                        (void)checkpointer.finish();
                      } catch (const Error& error) {
                        EXPECT_EQ(error.code(), ErrorCode::internal);
                        EXPECT_THAT(error.what(), HasSubstr("norm"));
                        EXPECT_THAT(error.what(), HasSubstr(std::to_string(flipped)));
                        ++named;
                      }
                    });
  EXPECT_EQ(named, 4);
  EXPECT_TRUE(CheckpointRoot(scratch / "root").list().empty());
}

TEST(Checkpointer, ASecondWriterIsRefusedOnEveryRank) {
  const ScratchDir scratch;
  const WriterLease lease(CheckpointRoot(scratch / "root"), "another");
  std::atomic<int> refused = 0;
  (void)train(two_by_two(), {.end = [&](const Engine& engine) {
                try {
                  const Checkpointer checkpointer(engine, options_of(two_by_two(), scratch / "root"));
                } catch (const Error& error) {
                  EXPECT_THAT(error.what(), HasSubstr("another"));
                  ++refused;
                }
              }});
  EXPECT_EQ(refused, 4);
}

// storage-hang: however long a write hangs, what memory holds is never more than a step old.
TEST(Checkpointer, S21WhileStorageHangsAtMostOneStepIsLost) {
  const ScratchDir scratch;
  const TestMemory memory;
  TestFiles files;
  Damaged damaged;
  with_checkpointer(
      two_by_two(), scratch / "root", files,
      [&](const Engine& engine, Checkpointer& checkpointer) {
        const Communicator& world = engine.mesh().world();
        files.hang();
        world.barrier();
        ASSERT_TRUE(checkpointer.save(1, 4));
        for (int64_t step = 2; step < 10; step += 2) {
          snapshot_now(checkpointer, step);
          EXPECT_EQ(restored_step(checkpointer, damaged), step);
          EXPECT_FALSE(checkpointer.save(step, 4 * step)) << "one is under way";
          // One rank is ahead, as when a fault ends all in the middle of the next fill.
          if (world.rank() == static_cast<int>(step % 4)) snapshot_now(checkpointer, step + 1);
          EXPECT_EQ(restored_step(checkpointer, damaged), step);
          if (world.rank() != static_cast<int>(step % 4)) snapshot_now(checkpointer, step + 1);
        }
        world.barrier();
        files.go_on();
        const auto outcomes = checkpointer.finish();
        ASSERT_EQ(outcomes.size(), 1U);
        EXPECT_EQ(outcomes[0].error, "");
      },
      memory.name());
  EXPECT_TRUE(damaged.all.empty());
}

// The state that is saved is that of its step, however far training has gone when it is written.
TEST(Checkpointer, T11SavesTheStateOfItsStep) {
  const ScratchDir scratch;
  TestFiles files;
  LayoutRun run = two_by_two();
  run.steps = 4;
  std::mutex mutex;
  std::map<int, std::unique_ptr<Checkpointer>> checkpointers;
  const auto mine = [&](const Engine& engine) -> Checkpointer& {
    const std::lock_guard lock(mutex);
    return *checkpointers.at(engine.mesh().world().rank());
  };
  StateCollector saved, loaded;
  (void)train(run, {.start =
                        [&](Engine& engine) {
                          CheckpointerOptions options = options_of(run, scratch / "root");
                          options.files = &files;
                          auto checkpointer = std::make_unique<Checkpointer>(engine, std::move(options));
                          const std::lock_guard lock(mutex);
                          checkpointers[engine.mesh().world().rank()] = std::move(checkpointer);
                          return 0;
                        },
                    .computed = [&](Engine& engine, int) { (void)mine(engine).wait_copied(); },
                    .stepped =
                        [&](Engine& engine, int step) {
                          if (step != 2) return;
                          saved.add(engine);
                          files.hang();
                          EXPECT_TRUE(mine(engine).save(step, step * run.global_batch_size));
                        },
                    .end =
                        [&](const Engine& engine) {
                          files.go_on();
                          EXPECT_EQ(mine(engine).finish().at(0).error, "");
                          engine.mesh().world().barrier();
                          const std::lock_guard lock(mutex);
                          checkpointers.erase(engine.mesh().world().rank());
                        }});
  (void)train(run, {.start = [&](Engine& engine) {
                EXPECT_TRUE(load_now(engine, run, scratch / "root"));
                loaded.add(engine);
                return 4;
              }});
  EXPECT_EQ(difference(saved.state(), loaded.state()), "");
}

}  // namespace
}  // namespace trident::testing
