#include "parallel/comm/launch_environment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "core/error.h"

namespace trident {
namespace {

using Launcher = LaunchEnvironment::Launcher;
using Variables = std::map<std::string, std::string, std::less<>>;

LaunchEnvironment detect(const Variables& variables) {
  return detect_launch([&](std::string_view name) -> std::optional<std::string> {
    const auto found = variables.find(name);
    return found == variables.end() ? std::nullopt : std::optional(found->second);
  });
}

TEST(LaunchEnvironment, WithoutALauncherThereIsOneRank) {
  const LaunchEnvironment found = detect({});
  EXPECT_EQ(found.launcher, Launcher::none);
  EXPECT_EQ(found.rank, 0);
  EXPECT_EQ(found.size, 1);
}

TEST(LaunchEnvironment, ReadsOpenMpi) {
  const LaunchEnvironment found = detect({{"OMPI_COMM_WORLD_RANK", "5"},
                                          {"OMPI_COMM_WORLD_SIZE", "8"},
                                          {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                                          {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"},
                                          {"PMIX_RANK", "5"}});
  EXPECT_EQ(found.launcher, Launcher::open_mpi);
  EXPECT_EQ(found.rank, 5);
  EXPECT_EQ(found.size, 8);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.local_size, 4);
}

TEST(LaunchEnvironment, MpirunInsideASlurmJobCounts) {
  const LaunchEnvironment found = detect({{"OMPI_COMM_WORLD_RANK", "2"},
                                          {"OMPI_COMM_WORLD_SIZE", "3"},
                                          {"SLURM_PROCID", "0"},
                                          {"SLURM_NTASKS", "1"},
                                          {"SLURM_STEP_ID", "0"}});
  EXPECT_EQ(found.launcher, Launcher::open_mpi);
  EXPECT_EQ(found.size, 3);
}

TEST(LaunchEnvironment, ReadsHowManySlurmTasksANodeHas) {
  const auto local_size = [](const std::string& list, const std::string& node) {
    return detect({{"SLURM_PROCID", "3"},
                   {"SLURM_NTASKS", "11"},
                   {"SLURM_NODEID", node},
                   {"SLURM_STEP_ID", "0"},
                   {"SLURM_TASKS_PER_NODE", list}})
        .local_size;
  };
  EXPECT_EQ(local_size("4(x2),3", "0"), 4);
  EXPECT_EQ(local_size("4(x2),3", "1"), 4);
  EXPECT_EQ(local_size("4(x2),3", "2"), 3);
  EXPECT_EQ(local_size("11", "0"), 11);
  for (const char* broken : {"", "x", "4(x", "4(x2", "0", "4,", "-1", "99999999999"})
    EXPECT_EQ(local_size(broken, "2"), std::nullopt) << broken;
}

TEST(LaunchEnvironment, ReadsSlurm) {
  const LaunchEnvironment found = detect({{"SLURM_PROCID", "3"},
                                          {"SLURM_NTASKS", "4"},
                                          {"SLURM_LOCALID", "1"},
                                          {"SLURM_NODEID", "1"},
                                          {"SLURM_STEP_ID", "0"}});
  EXPECT_EQ(found.launcher, Launcher::slurm);
  EXPECT_EQ(found.rank, 3);
  EXPECT_EQ(found.size, 4);
  EXPECT_EQ(found.local_rank, 1);
  EXPECT_EQ(found.node, 1);
}

TEST(LaunchEnvironment, ABatchScriptIsNoRank) {
  EXPECT_EQ(detect({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}).size, 1);
}

TEST(LaunchEnvironment, PmixKnowsOnlyTheRank) {
  const LaunchEnvironment found = detect({{"PMIX_RANK", "7"}});
  EXPECT_EQ(found.launcher, Launcher::pmix);
  EXPECT_EQ(found.rank, 7);
  EXPECT_EQ(found.size, 0);
}

TEST(LaunchEnvironment, NonsenseIsNamed) {
  for (const char* nonsense : {"", "x", "-1", "3 ", "99999999999"}) {
    try {
      (void)detect({{"OMPI_COMM_WORLD_RANK", nonsense}, {"OMPI_COMM_WORLD_SIZE", "4"}});
      ADD_FAILURE() << nonsense;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::config);
      EXPECT_THAT(error.what(), testing::HasSubstr(std::string("OMPI_COMM_WORLD_RANK=") + nonsense));
    }
  }
  EXPECT_THROW((void)detect({{"OMPI_COMM_WORLD_RANK", "4"}, {"OMPI_COMM_WORLD_SIZE", "4"}}), Error);
}

}  // namespace
}  // namespace trident
