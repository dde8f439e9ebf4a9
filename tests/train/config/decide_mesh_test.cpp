#include "train/config/decide_mesh.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/train/config/job_text.h"
#include "tests/train/config/small_cluster.h"
#include "train/config/job_plan.h"

namespace trident {
namespace {

using config_test::kSmallJob;
using config_test::small_cluster;
using testing::HasSubstr;
using testing::StartsWith;
using Launcher = LaunchEnvironment::Launcher;

LaunchEnvironment started(int ranks, Launcher launcher = Launcher::open_mpi) {
  return {launcher, 0, ranks, {}, {}, {}};
}

JobConfig decide(const std::string& text, const LaunchEnvironment& launch,
                 const std::vector<std::string>& overrides = {}) {
  ResolvedOrigins origins;
  const JobConfig job = parse_job(text, "job.yaml", overrides, &origins);
  return decide_mesh(job, origins, launch);
}

std::string problem_of(const std::string& text, const LaunchEnvironment& launch,
                       const std::vector<std::string>& overrides = {}) {
  try {
    static_cast<void>(decide(text, launch, overrides));
  } catch (const ConfigErrors& error) {
    return error.what();
  }
  return {};
}

TEST(DecideMesh, RightNumbersStay) {
  EXPECT_EQ(mesh_of(decide(kSmallJob, started(1, Launcher::none))), (MeshShape{1, 1, 1}));
  EXPECT_EQ(mesh_of(decide(kSmallJob + "parallelism: {dp: 2, tp: 2, pp: 2}\n", started(8))), (MeshShape{2, 2, 2}));
}

TEST(DecideMesh, AutoDpTakesWhatIsLeft) {
  const auto text = kSmallJob + "parallelism: {dp: auto, pp: 2}\n";
  EXPECT_EQ(mesh_of(decide(text, started(2))), (MeshShape{1, 1, 2}));
  EXPECT_EQ(mesh_of(decide(text, started(8))), (MeshShape{4, 1, 2}));
  EXPECT_EQ(mesh_of(decide(kSmallJob + "parallelism: auto\n", started(4))), (MeshShape{4, 1, 1}));
}

JobConfig planned(const std::string& text, int ranks, const plan::ClusterSpec& cluster) {
  ResolvedOrigins origins;
  const JobConfig job = parse_job(text, "job.yaml", {}, &origins);
  return decide_mesh(job, origins, started(ranks), &cluster);
}

TEST(DecideMesh, ThePlannerDecidesEverythingThatAutoLeavesOpen) {
  const JobConfig job = planned(kSmallJob + "parallelism: auto\n", 4, small_cluster());
  EXPECT_EQ(mesh_of(job).ranks(), 4);
  EXPECT_FALSE(job.parallelism.schedule.is_auto() || job.parallelism.virtual_stages.is_auto());
  EXPECT_FALSE(job.parallelism.sequence_parallel.is_auto() || job.parallelism.zero_stage.is_auto());
  EXPECT_FALSE(job.training.micro_batch_size.is_auto() || job.training.recompute.is_auto());
}

TEST(DecideMesh, ThePlannerLeavesGivenMeshesAlone) {
  EXPECT_EQ(mesh_of(planned(kSmallJob + "parallelism: {dp: auto, pp: 2}\n", 8, small_cluster())), (MeshShape{4, 1, 2}));
}

TEST(DecideMesh, WhatFitsNowhereIsRefusedWithItsNeed) {
  plan::ClusterSpec tiny = small_cluster();
  tiny.memory = 1e3;
  try {
    static_cast<void>(planned(kSmallJob + "parallelism: auto\n", 2, tiny));
    FAIL() << "a job fits a kilobyte";
  } catch (const ConfigErrors& error) {
    EXPECT_THAT(error.what(), HasSubstr("GiB even with"));
    EXPECT_THAT(error.what(), HasSubstr("E126"));
  }
}

TEST(DecideMesh, TheDefaultMicroBatchFollowsTheDpThatWasDecided) {
  const auto text = kSmallJob + "parallelism: {dp: auto}\n";
  EXPECT_EQ(decide(text, started(4)).training.micro_batch_size.value(), 4);
  EXPECT_EQ(decide(text, started(4), {"training.micro_batch_size=2"}).training.micro_batch_size.value(), 2);
  EXPECT_TRUE(decide(text, started(4), {"training.micro_batch_size=auto"}).training.micro_batch_size.is_auto());
}

TEST(DecideMesh, AnotherNumberOfRanksIsRefusedWithBothWaysOut) {
  EXPECT_EQ(
      problem_of(kSmallJob + "parallelism: {tp: 2, pp: 2}\n", started(6), {"training.steps=9"}),
      "job.yaml:4:19: dp·tp·pp = 1·2·2 = 4, but 6 ranks were started; start 4: mpirun -n 4 trident train job.yaml "
      "training.steps=9; or, for 6 ranks, parallelism.dp=1 parallelism.tp=2 parallelism.pp=3 [E125]\n"
      "    parallelism: {tp: 2, pp: 2}\n"
      "                      ^");
}

TEST(DecideMesh, PlacesAreOfTheKeyThatIsGiven) {
  EXPECT_THAT(problem_of(kSmallJob, started(2)), StartsWith("job.yaml:1:1: dp·tp·pp = 1·1·1 = 1, but 2 ranks were"));
  EXPECT_THAT(problem_of(kSmallJob, started(1, Launcher::none), {"parallelism.dp=2"}),
              StartsWith("command line argument 1:1:16: dp·tp·pp = 2·1·1 = 2, but 1 rank was started; start 2: "
                         "mpirun -n 2 trident train job.yaml parallelism.dp=2; or, for 1 rank, parallelism.dp=1 "));
}

TEST(DecideMesh, TheCommandIsOfTheLauncherAndSurvivesTheShell) {
  EXPECT_THAT(
      problem_of(kSmallJob, started(2, Launcher::slurm), {"run.name=it's a", "optimizer.betas=[0.8, 0.9]"}),
      HasSubstr("start 1: srun -n 1 trident train job.yaml 'run.name=it'\\''s a' 'optimizer.betas=[0.8, 0.9]';"));
}

TEST(DecideMesh, TheCommandIsThatByWhichTheUserCame) {
  ResolvedOrigins origins;
  const JobConfig job = parse_job(kSmallJob, "job.yaml", {}, &origins);
  try {
    static_cast<void>(decide_mesh(job, origins, started(3), nullptr, StartCommand{"trident launch --ranks"}));
    FAIL() << "one rank's job starts on three";
  } catch (const ConfigErrors& error) {
    EXPECT_THAT(error.what(), HasSubstr("start 1: trident launch --ranks 1 job.yaml; or"));
  }
}

TEST(DecideMesh, OnlyLegalMeshesAreProposed) {
  // tp 3 would be nearer, but does not divide four heads.
  EXPECT_THAT(problem_of(kSmallJob + "parallelism: {tp: 4}\n", started(3)),
              HasSubstr("; or, for 3 ranks, parallelism.dp=3 parallelism.tp=1 parallelism.pp=1 [E125]"));
  // Nothing of 7 ranks is legal: 4 layers, 4 heads, 3 sequences.
  const auto none = problem_of(kSmallJob, started(7), {"training.global_batch_size=3"});
  EXPECT_THAT(none, HasSubstr("start 1: mpirun -n 1 trident train job.yaml training.global_batch_size=3 [E125]"));
}

TEST(DecideMesh, RanksThatTpAndPpDoNotDivide) {
  EXPECT_THAT(problem_of(kSmallJob + "parallelism: {dp: auto, tp: 2, pp: 2}\n", started(6)),
              StartsWith("job.yaml:4:19: tp·pp = 2·2 = 4 does not divide the 6 ranks started; start 4: mpirun -n 4 "
                         "trident train job.yaml; or, for 6 ranks, parallelism.dp=1 parallelism.tp=2 "
                         "parallelism.pp=3 [E125]"));
  EXPECT_THAT(problem_of(kSmallJob + "parallelism: {dp: auto, tp: 2, pp: 2}\n", started(3)), HasSubstr("start 4: "));
}

TEST(DecideMesh, TheDecidedDpIsCheckedLikeAGivenOne) {
  EXPECT_THAT(
      problem_of(kSmallJob + "parallelism: {dp: auto}\n", started(4), {"training.micro_batch_size=8"}),
      StartsWith("job.yaml:4:19: 2 microbatches of micro_batch_size 8 leave some of dp 4 replicas without one"));
  EXPECT_THAT(problem_of(kSmallJob + "parallelism: {dp: auto, logical_shards: 2}\n", started(4)),
              HasSubstr("dp 4 exceeds logical_shards 2"));
}

TEST(DecideMesh, AnUnknownNumberOfRanksDecidesNothing) {
  EXPECT_TRUE(decide(kSmallJob + "parallelism: {dp: auto}\n", started(0, Launcher::pmix)).parallelism.dp.is_auto());
}

TEST(DecideMesh, NeedsNoOrigins) {
  const JobConfig job = parse_job(kSmallJob, "job.yaml");
  EXPECT_THROW(static_cast<void>(decide_mesh(job, {}, started(2))), ConfigErrors);
}

}  // namespace
}  // namespace trident
