#include "launch/kernel_kills.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/scratch_dir.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

constexpr pid_t kProcess = 4711;

// Folders that look like /proc and /sys/fs/cgroup.
class KernelKillsTest : public testing::Test {
 protected:
  void groups(const std::string& lines) { write(folders_.proc / std::to_string(kProcess) / "cgroup", lines); }
  void version1(const std::string& group, int kills) {
    write(folders_.mount / "memory" / group / "memory.oom_control",
          "oom_kill_disable 0\nunder_oom 0\noom_kill " + std::to_string(kills) + "\n");
  }
  void version2(const std::string& group, int kills) {
    write(folders_.mount / group / "memory.events",
          "low 0\nhigh 0\nmax 12\noom 3\noom_kill " + std::to_string(kills) + "\noom_group_kill 0\n");
  }
  [[nodiscard]] KernelKills look() const { return KernelKills(kProcess, folders_); }
  void end_process() { fs::remove_all(folders_.proc); }

 private:
  static void write(const fs::path& file, const std::string& text) {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }

  test::ScratchDir scratch_;
  const CgroupFolders folders_{scratch_ / "proc", scratch_ / "cgroup"};
};

TEST_F(KernelKillsTest, Version1) {
  groups("5:cpu,cpuacct:/\n4:memory:/job/42\n");
  version1("job/42", 3);
  const KernelKills kills = look();
  EXPECT_FALSE(kills.any());
  version1("job/42", 4);
  EXPECT_TRUE(kills.any());
}

TEST_F(KernelKillsTest, Version2) {
  groups("0::/system.slice/slurmstepd.scope/job_7\n");
  version2("system.slice/slurmstepd.scope/job_7", 0);
  version2("", 9);  // others' do not count
  const KernelKills kills = look();
  EXPECT_FALSE(kills.any());
  version2("", 10);
  EXPECT_FALSE(kills.any());
  version2("system.slice/slurmstepd.scope/job_7", 1);
  end_process();
  EXPECT_TRUE(kills.any());
}

// The leaf has no memory controller: the group that was given the memory counts for all below it.
TEST_F(KernelKillsTest, Version2CountsOfTheGroupAbove) {
  groups("0::/user.slice/session.scope/deeper\n");
  version2("user.slice", 2);
  const KernelKills kills = look();
  version2("user.slice", 3);
  EXPECT_TRUE(kills.any());
}

TEST_F(KernelKillsTest, HybridWithTheControllerInVersion1) {
  groups("4:memory:/job\n0::/unified/job\n");
  version1("job", 0);
  version2("unified/job", 0);
  const KernelKills kills = look();
  version2("unified/job", 5);
  EXPECT_FALSE(kills.any());
  version1("job", 1);
  EXPECT_TRUE(kills.any());
}

TEST_F(KernelKillsTest, HybridWithTheControllerInVersion2) {
  groups("9:name=systemd:/job\n2:cpuacct:/\n0::/job\n");
  version2("unified/job", 0);
  const KernelKills kills = look();
  version2("unified/job", 1);
  EXPECT_TRUE(kills.any());
}

// In a container without a namespace of its own for groups, the mount begins where the path ends.
TEST_F(KernelKillsTest, AMountThatBeginsFurtherDown) {
  groups("4:memory:/docker/0123\n");
  version1("", 0);
  const KernelKills kills = look();
  version1("", 1);
  EXPECT_TRUE(kills.any());
}

TEST_F(KernelKillsTest, APathThatLeavesTheNamespace) {
  groups("0::/../other\n");
  version2("", 0);
  const KernelKills kills = look();
  version2("", 1);
  EXPECT_TRUE(kills.any());
}

TEST_F(KernelKillsTest, NothingKnown) {
  EXPECT_FALSE(look().any());
  groups("rubbish\n0::/job\n");
  EXPECT_FALSE(look().any());
  EXPECT_FALSE(KernelKills().any());
  EXPECT_FALSE(KernelKills(::getpid()).any());
}

}  // namespace
}  // namespace trident
