#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "checkpoint/checkpoint_root.h"
#include "core/error.h"
#include "tests/checkpoint/recording_file_system.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::ScratchDir;
using ::testing::HasSubstr;

/// A process that does one thing and then waits to be killed.
class Child {
 public:
  explicit Child(const std::function<void()>& first) {
    std::array<int, 2> ends{};
    if (pipe(ends.data()) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      try {
        first();
        (void)!write(ends[1], "1", 1);
      } catch (...) {
        (void)!write(ends[1], "0", 1);
      }
      for (;;) pause();
    }
    char answer = '0';
    ok_ = read(ends[0], &answer, 1) == 1 && answer == '1';
    close(ends[0]);
    close(ends[1]);
  }
  ~Child() { kill(); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
  bool ok_ = false;
};

std::optional<Error> refusal(const CheckpointRoot& root) {
  try {
    const WriterLease lease(root, "second");
    return std::nullopt;
  } catch (const Error& error) {
    return error;
  }
}

TEST(CheckpointSceptic, T7TwoWriters) {
  const ScratchDir scratch;
  const CheckpointRoot root(scratch / "run/checkpoints");
  std::optional<WriterLease> lease;
  Child first([&] { lease.emplace(root, "first"); });
  ASSERT_TRUE(first.ok());
  const auto refused = refusal(root);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code(), ErrorCode::config);
  std::array<char, 256> host{};
  ASSERT_EQ(gethostname(host.data(), host.size() - 1), 0);
  EXPECT_EQ(refused->problem(), root.path().string() + " is written by run \"first\" on host \"" + host.data() +
                                    "\", process " + std::to_string(first.pid()));
  first.kill();
  EXPECT_THAT(test::read_file(root.path() / ".writer"), HasSubstr("first")) << "a dead process's lease is stale";
  EXPECT_FALSE(refusal(root));
}

TEST(WriterLease, IsGivenBackAndTakenAgain) {
  const ScratchDir scratch;
  const CheckpointRoot root(scratch.path());
  for (const char* run : {"one", "two"}) {
    const WriterLease lease(root, run);
    const auto refused = refusal(root);  // by this process as well
    ASSERT_TRUE(refused);
    EXPECT_THAT(refused->problem(), HasSubstr("run \"" + std::string(run) + "\""));
  }
  EXPECT_EQ(test::read_file(root.path() / ".writer"), "");
}

TEST(WriterLease, ShowsNothingButPlainText) {
  const ScratchDir scratch;
  const CheckpointRoot root(scratch.path());
  const WriterLease lease(root, "a\x1b[31m\n\xff");
  for (const std::string content : {"", "garbage", "[1]", "{\"run\":[\"\\u001b\"]}"}) {
    const auto refused = refusal(root);
    ASSERT_TRUE(refused);
    for (const char c : refused->problem()) EXPECT_TRUE(c >= ' ' && c < 127) << refused->problem();
    test::write_file(root.path() / ".writer", content);
  }
}

TEST(WriterLease, IsNotInherited) {
  const ScratchDir scratch;
  const CheckpointRoot root(scratch.path());
  std::optional<WriterLease> lease(std::in_place, root, "first");
  // A program that is started meanwhile must not hold the lease when this one is gone.
  const pid_t pid = fork();
  if (pid == 0) {
    execlp("sleep", "sleep", "60", nullptr);
    _exit(1);
  }
  // Until it has become another program it is a copy of this one.
  const std::string name = "/proc/" + std::to_string(pid) + "/comm";
  for (int i = 0; i < 2000 && test::read_file(name) != "sleep\n"; ++i) usleep(5000);
  lease.reset();
  EXPECT_FALSE(refusal(root));
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
}

TEST(WriterLease, MakesTheRootDurably) {
  const ScratchDir scratch;
  testing::RecordingFileSystem files;
  const WriterLease lease(CheckpointRoot(scratch / "run/checkpoints"), "first", files);
  std::vector<std::string> calls;
  for (const auto& call : files.calls()) calls.push_back(to_string(call));
  EXPECT_THAT(calls, ::testing::ElementsAre("create_directory " + (scratch / "run").string(),
                                            "sync_directory " + scratch.path().string(),
                                            "create_directory " + (scratch / "run/checkpoints").string(),
                                            "sync_directory " + (scratch / "run").string()));
}

TEST(CheckpointSceptic, T14ReadOnlyRoot) {
  const ScratchDir scratch;
  std::filesystem::create_directory(scratch / "root");
  std::filesystem::permissions(scratch / "root",
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec |
                                   std::filesystem::perms::others_read | std::filesystem::perms::others_exec);
  // The superuser may write everywhere.
  Child child([&] {
    if (geteuid() == 0 && (setgroups(0, nullptr) != 0 || setgid(65534) != 0 || setuid(65534) != 0)) throw 0;
    for (const char* name : {"root", "root/new"}) {
      const auto refused = refusal(CheckpointRoot(scratch / name));
      if (!refused || refused->code() != ErrorCode::io) throw 0;
      if (refused->problem().find((scratch / name).string()) == std::string::npos) throw 0;
    }
  });
  EXPECT_TRUE(child.ok());
  test::write_file(scratch / "file", "");
  const auto refused = refusal(CheckpointRoot(scratch / "file/checkpoints"));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->code(), ErrorCode::io);
}

}  // namespace
}  // namespace trident
