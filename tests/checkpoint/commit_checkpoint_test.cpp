#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_root.h"
#include "core/error.h"
#include "tests/checkpoint/recording_file_system.h"
#include "tests/checkpoint/small_save.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::read_file;
using test::ScratchDir;
using ::testing::AnyOf;
using ::testing::ElementsAre;
using testing::FileCall;
using ::testing::HasSubstr;
using testing::names_in;
using testing::problem_with;
using testing::RecordingFileSystem;
using testing::save_small;
using Kind = FileCall::Kind;

/// Old or new, never a third state.
void expect_old_or_new(const CheckpointRoot& root, const std::string& when) {
  const auto entries = root.list();
  ASSERT_THAT(entries.size(), AnyOf(1U, 2U)) << when;
  EXPECT_EQ(entries.back().step, 1) << when;
  for (const auto& entry : entries) EXPECT_EQ(problem_with(entry.folder), "") << when;
  EXPECT_EQ(entries.front().step, std::ssize(entries)) << when;
  const std::string latest = read_file(root.path() / "latest");
  EXPECT_TRUE(latest == "step_00000001\n" || (entries.size() == 2 && latest == "step_00000002\n")) << when << latest;
}

/// The next start: it sweeps, and can save.
void expect_usable(const CheckpointRoot& root, const std::string& when) {
  root.sweep(posix_file_system());
  if (root.list().size() == 1)
    EXPECT_THAT(names_in(root.path()), ElementsAre("latest", "step_00000001")) << when;
  else
    EXPECT_THAT(names_in(root.path()), ElementsAre("latest", "step_00000001", "step_00000002")) << when;
  save_small(posix_file_system(), root, 3);
  EXPECT_EQ(problem_with(root.folder(3)), "") << when;
}

std::string where(const FileCall& call, size_t number) {
  return "at call " + std::to_string(number) + ", " + to_string(call);
}

TEST(CommitCheckpoint, WritesWhatTheManifestSays) {
  const ScratchDir scratch;
  const CheckpointRoot root(scratch.path());
  EXPECT_EQ(save_small(posix_file_system(), root, 7), root.folder(7));
  EXPECT_THAT(names_in(scratch.path()), ElementsAre("latest", "step_00000007"));
  EXPECT_EQ(read_file(scratch / "latest"), "step_00000007\n");
  EXPECT_THAT(names_in(root.folder(7)), ElementsAre("MANIFEST.json", "config.yaml", "master.h5", "rank_00000.h5",
                                                    "rank_00000.sum", "rank_00001.h5", "rank_00001.sum"));
  EXPECT_EQ(problem_with(root.folder(7)), "");
  const Manifest manifest = read_manifest(root.folder(7));
  EXPECT_EQ(manifest.step, 7);
  ASSERT_EQ(manifest.extra_files.size(), 2U);
  EXPECT_EQ(manifest.extra_files[0].name, "config.yaml");
  EXPECT_EQ(read_file(root.folder(7) / "config.yaml"), "step: 7\n");
}

TEST(CommitCheckpoint, TheManifestIsWrittenLastAndTheNameGivenAfterIt) {
  const ScratchDir scratch;
  const CheckpointRoot root(scratch.path());
  RecordingFileSystem files;
  save_small(files, root, 1);
  std::vector<std::string> calls;
  for (size_t i = files.calls().size() - 13; i < files.calls().size(); ++i) {
    std::string call = to_string(files.calls()[i]);
    call.replace(call.find(scratch.path().string()), scratch.path().string().size(), "R");
    calls.push_back(call);
  }
  const std::string temporary = "R/.tmp.step_00000001.test";
  EXPECT_THAT(calls,
              ElementsAre("write " + temporary + "/MANIFEST.json", "sync " + temporary + "/MANIFEST.json",
                          "close " + temporary + "/MANIFEST.json", "sync_directory " + temporary, "rename " + temporary,
                          "sync_directory R", "remove R/.tmp.latest", "create R/.tmp.latest", "write R/.tmp.latest",
                          "sync R/.tmp.latest", "close R/.tmp.latest", "replace R/.tmp.latest", "sync_directory R"));
}

TEST(CommitCheckpoint, RefusesAStepThatIsThere) {
  const ScratchDir scratch;
  const CheckpointRoot root(scratch.path());
  save_small(posix_file_system(), root, 1);
  const std::string before = read_file(root.folder(1) / Manifest::kFileName);
  EXPECT_THROW(save_small(posix_file_system(), root, 1), Error);
  EXPECT_EQ(read_file(root.folder(1) / Manifest::kFileName), before);
  EXPECT_EQ(problem_with(root.folder(1)), "");
}

TEST(CommitCheckpoint, RefusesWhatCannotBeReadBack) {
  const ScratchDir scratch;
  const CheckpointRoot root(scratch.path());
  const auto problem = [&](Manifest manifest, const std::vector<Attachment>& attachments) -> std::string {
    const auto temporary = testing::small_temporary(root, manifest.step);
    std::filesystem::create_directory(temporary);
    for (RankFile& file : manifest.rank_files) {
      file.bytes = 4096;
      file.payload = {1000, 2000, 3000};
    }
    try {
      commit_checkpoint(posix_file_system(), root, temporary, manifest, attachments);
    } catch (const Error& error) {
      std::filesystem::remove_all(temporary);
      return error.problem();
    }
    return {};
  };
  Manifest holed = testing::small_manifest(1);
  holed.rank_files[1].segments.pop_back();
  EXPECT_THAT(problem(holed, {}), HasSubstr("row 0, column 0 of layers.0.gain is in no segment"));
  EXPECT_THAT(problem(testing::small_manifest(1), {{"rank_00001.sum", ""}}), HasSubstr("named twice"));
  EXPECT_THAT(problem(testing::small_manifest(1), {{".hidden", ""}}), HasSubstr("no plain file name"));
  EXPECT_THAT(names_in(scratch.path()), ElementsAre());
}

struct Killed {};

TEST(CheckpointSceptic, T6KillBetweenCommitSteps) {
  size_t old_states = 0, new_states = 0;
  for (size_t last = 0;; ++last) {
    const ScratchDir scratch;
    const CheckpointRoot root(scratch.path());
    save_small(posix_file_system(), root, 1);
    std::string when;
    RecordingFileSystem files([&](const FileCall& call, size_t number) {
      if (number != last) return;
      when = where(call, number);
      throw Killed();
    });
    try {
      save_small(files, root, 2);
    } catch (const Killed&) {
    }
    expect_old_or_new(root, when);
    ++(root.list().size() == 1 ? old_states : new_states);
    expect_usable(root, when);
    if (when.empty()) break;
  }
  EXPECT_GT(old_states, 30U);
  EXPECT_GE(new_states, 8U);
}

// The same with a process that is truly gone: nothing is tidied up by destructors.
TEST(CheckpointSceptic, T6ProcessDiesBetweenCommitSteps) {
  const size_t stride = std::getenv("TRIDENT_LONG_TESTS") != nullptr ? 1 : 7;
  for (size_t last = 0;; last += stride) {
    const ScratchDir scratch;
    const CheckpointRoot root(scratch.path());
    const pid_t pid = fork();
    if (pid == 0) {
      const WriterLease lease(root, "dies");
      save_small(posix_file_system(), root, 1);
      RecordingFileSystem files([&](const FileCall&, size_t number) {
        if (number == last) _exit(9);
      });
      save_small(files, root, 2);
      _exit(0);
    }
    int status = 0;
    ASSERT_EQ(waitpid(pid, &status, 0), pid);
    ASSERT_TRUE(WIFEXITED(status));
    const WriterLease lease(root, "takes over");
    std::filesystem::remove(scratch / ".writer");
    expect_old_or_new(root, "at call " + std::to_string(last));
    expect_usable(root, "at call " + std::to_string(last));
    if (WEXITSTATUS(status) == 0) break;
  }
}

TEST(CheckpointSceptic, T4FullDiskAtEveryWrite) {
  size_t refused = 0;
  for (size_t full = 0;; ++full) {
    const ScratchDir scratch;
    const CheckpointRoot root(scratch.path());
    save_small(posix_file_system(), root, 1);
    std::string when;
    size_t needing_space = 0;
    // Once full it stays full until something is removed.
    RecordingFileSystem files([&](const FileCall& call, size_t number) {
      const bool needs = call.kind == Kind::write || call.kind == Kind::reserve || call.kind == Kind::create ||
                         call.kind == Kind::create_directory;
      if (!needs || needing_space++ < full) return;
      if (when.empty()) when = where(call, number);
      testing::throw_no_space(call);
    });
    bool threw = false;
    try {
      save_small(files, root, 2);
    } catch (const Error& error) {
      threw = true;
      EXPECT_EQ(error.code(), ErrorCode::io);
      EXPECT_THAT(error.problem(), HasSubstr("No space left"));
      files.remove(testing::small_temporary(root, 2));
    }
    // Only the hint may fail once the checkpoint is there.
    if (threw)
      EXPECT_THAT(names_in(root.path()), ElementsAre("latest", "step_00000001")) << when;
    else
      EXPECT_THAT(names_in(root.path()), ElementsAre("latest", "step_00000001", "step_00000002")) << when;
    expect_old_or_new(root, when);
    refused += threw ? 1 : 0;
    if (when.empty()) break;
  }
  EXPECT_GT(refused, 15U);
}

}  // namespace
}  // namespace trident
