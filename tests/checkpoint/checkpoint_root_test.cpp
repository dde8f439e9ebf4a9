#include "checkpoint/checkpoint_root.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/checkpoint/recording_file_system.h"
#include "tests/checkpoint/small_save.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::ScratchDir;
using ::testing::ElementsAre;
using testing::FileCall;
using ::testing::IsEmpty;
using testing::names_in;
using testing::RecordingFileSystem;
using ::testing::UnorderedElementsAre;

std::vector<int64_t> steps_in(const CheckpointRoot& root) {
  std::vector<int64_t> steps;
  for (const auto& entry : root.list()) steps.push_back(entry.step);
  return steps;
}

void make_steps(const CheckpointRoot& root, const std::vector<int64_t>& steps) {
  for (const int64_t step : steps) {
    std::filesystem::create_directories(root.folder(step));
    test::write_file(root.folder(step) / "rank_00000.h5", "state");
  }
}

TEST(CheckpointRoot, NamesItsFolders) {
  const CheckpointRoot root("r");
  EXPECT_EQ(root.folder(100), "r/step_00000100");
  EXPECT_EQ(root.folder(123456789012), "r/step_123456789012");
  EXPECT_EQ(root.temporary(100, "a1"), "r/.tmp.step_00000100.a1");
}

TEST(CheckpointRoot, ListsNewestFirst) {
  const ScratchDir scratch;
  const CheckpointRoot root(scratch.path());
  make_steps(root, {0, 20, 3, 123456789012});
  EXPECT_THAT(steps_in(root), ElementsAre(123456789012, 20, 3, 0));
  EXPECT_THAT(CheckpointRoot(scratch / "missing").list(), IsEmpty());
}

// Were it taken for empty, the run would begin anew.
TEST(CheckpointRoot, ARootThatCannotBeReadIsNotEmpty) {
  const ScratchDir scratch;
  test::write_file(scratch / "file", "");
  EXPECT_THROW((void)CheckpointRoot(scratch / "file").list(), Error);
}

TEST(CheckpointSceptic, T14WhatOnlyLooksLikeACheckpoint) {
  const ScratchDir scratch;
  const CheckpointRoot root(scratch.path());
  make_steps(root, {5});
  for (const char* name : {"step_5", "step_000000005", "step_-0000005", "step_00000007.abandoned", "step_+0000007",
                           "step_0000000x", "step_", "step_99999999999999999999", ".tmp.step_00000007.a", "7"})
    std::filesystem::create_directories(scratch / name);
  std::filesystem::create_symlink("step_00000005", scratch / "step_00000008");
  std::filesystem::create_symlink("..", scratch / "step_00000009");
  ASSERT_EQ(mkfifo((scratch / "step_00000010").c_str(), 0600), 0);
  test::write_file(scratch / "step_00000011", "");
  std::filesystem::create_symlink("step_00000404", scratch / "latest");  // dangling: a hint that nothing follows
  EXPECT_THAT(steps_in(root), ElementsAre(5));
  root.retain(posix_file_system(), 1, 0, 5);
  EXPECT_THAT(steps_in(root), ElementsAre(5));
}

TEST(CheckpointRoot, SweepsWhatWasInterruptedAndNothingElse) {
  const ScratchDir scratch;
  const CheckpointRoot root(scratch.path());
  make_steps(root, {1});
  std::filesystem::create_directories(root.temporary(2, "a") / "deep");
  std::filesystem::create_directories(scratch / ".del.step_00000000");
  test::write_file(scratch / ".tmp.latest", "");
  test::write_file(scratch / "notes.txt", "");
  test::write_file(scratch / ".writer", "");
  std::filesystem::create_symlink("step_00000001", scratch / ".tmp.link");  // not followed
  EXPECT_EQ(root.sweep(posix_file_system()), 4);
  EXPECT_THAT(names_in(scratch.path()), UnorderedElementsAre("step_00000001", "notes.txt", ".writer"));
  EXPECT_THAT(names_in(root.folder(1)), ElementsAre("rank_00000.h5"));
  EXPECT_EQ(root.sweep(posix_file_system()), 0);
  EXPECT_EQ(CheckpointRoot(scratch / "missing").sweep(posix_file_system()), 0);
}

TEST(CheckpointSceptic, T17RetentionKeepsTheLastGoodStep) {
  for (const int64_t keep : {0, 1, 2, 9}) {
    for (const int64_t keep_every : {0, 1, 3, 10}) {
      for (const int64_t verified : {-1, 1, 4, 7}) {
        const ScratchDir scratch;
        const CheckpointRoot root(scratch.path());
        const std::vector<int64_t> all{1, 2, 3, 4, 6, 7};
        make_steps(root, all);
        root.retain(posix_file_system(), keep, keep_every, verified);
        std::set<int64_t, std::greater<>> expected;
        for (size_t i = 0; i < all.size(); ++i) {
          const bool newest = keep == 0 || static_cast<int64_t>(all.size() - i) <= keep;
          const bool multiple = keep_every > 0 && all[i] % keep_every == 0;
          if (newest || multiple || all[i] == verified) expected.insert(all[i]);
        }
        EXPECT_EQ(steps_in(root), std::vector<int64_t>(expected.begin(), expected.end()))
            << keep << " " << keep_every << " " << verified;
        EXPECT_EQ(names_in(scratch.path()).size(), expected.size());
      }
    }
  }
}

TEST(CheckpointRoot, RetentionDeletesWhatWasSetAsideOnceItIsReplaced) {
  const ScratchDir scratch;
  const CheckpointRoot root(scratch.path());
  make_steps(root, {1, 2, 3, 4, 6});
  for (const int64_t step : {3, 4, 6}) std::filesystem::rename(root.folder(step), root.abandoned(step));
  const auto kept_after = [&](const std::vector<int64_t>& saved, int64_t keep) {
    make_steps(root, saved);
    root.retain(posix_file_system(), keep, 0, saved.back());
    std::vector<int64_t> steps;
    for (const auto& entry : root.list_abandoned()) steps.push_back(entry.step);
    return steps;
  };
  EXPECT_THAT(kept_after({3}, 2), ElementsAre(6, 4, 3));
  EXPECT_THAT(kept_after({4}, 0), ElementsAre(6, 4, 3));
  EXPECT_THAT(kept_after({5}, 9), ElementsAre(6, 4, 3));
  EXPECT_THAT(kept_after({5}, 2), ElementsAre(6));
  EXPECT_THAT(kept_after({6}, 2), ElementsAre(6));
  EXPECT_THAT(kept_after({7}, 2), ElementsAre());
  EXPECT_THAT(steps_in(root), ElementsAre(7, 6));
}

struct Killed {};

TEST(CheckpointSceptic, T17KilledDeletionLeavesACleanRoot) {
  for (size_t last = 0;; ++last) {
    const ScratchDir scratch;
    const CheckpointRoot root(scratch.path());
    for (const int64_t step : {1, 2, 3, 4}) testing::save_small(posix_file_system(), root, step);
    RecordingFileSystem files([&](const FileCall&, size_t number) {
      if (number == last) throw Killed();
    });
    bool killed = false;
    try {
      root.retain(files, 1, 0, 3);
    } catch (const Killed&) {
      killed = true;
    }
    for (const auto& entry : root.list()) EXPECT_EQ(testing::problem_with(entry.folder), "") << "killed at " << last;
    root.sweep(posix_file_system());
    const auto left = names_in(scratch.path());
    EXPECT_THAT(left, ::testing::IsSupersetOf({"latest", "step_00000003", "step_00000004"}));
    EXPECT_TRUE(std::all_of(left.begin(), left.end(), [](const std::string& name) { return name[0] != '.'; }));
    root.retain(posix_file_system(), 1, 0, 3);
    EXPECT_THAT(steps_in(root), ElementsAre(4, 3));
    if (!killed) {
      EXPECT_GT(last, 12U);  // both folders, file by file
      return;
    }
  }
}

}  // namespace
}  // namespace trident
