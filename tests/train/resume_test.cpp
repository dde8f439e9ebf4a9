#include "train/resume.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "core/error.h"
#include "tests/scratch_dir.h"
#include "tests/train/saving.h"

namespace trident::testing {
namespace {

namespace fs = std::filesystem;
using test::ScratchDir;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

LayoutRun two_ranks() { return small_run(2, 1); }

/// A run with checkpoints of steps 1 and 2.
class Resume : public ::testing::Test {
 protected:
  Resume() {
    run_.create();
    (void)train(two_ranks(), {.end = [&](const Engine& engine) {
                  save_now(engine, two_ranks(), run_.checkpoints(), 1);
                  save_now(engine, two_ranks(), run_.checkpoints(), 2);
                }});
  }

  [[nodiscard]] JobConfig job(config::Resume resume = {}) const {
    JobConfig job = job_of(two_ranks());
    job.run.dir = scratch_.path().string();
    job.run.name = "run";
    job.checkpoint.resume = std::move(resume);
    return job;
  }

  /// What all ranks get; the text of the error where they throw.
  std::string load(const JobConfig& job, std::vector<std::string>& damaged, int64_t& step) {
    std::string error;
    std::mutex mutex;
    (void)train(two_ranks(), {.start = [&](Engine& engine) {
                  try {
                    const auto point =
                        load_newest(plan_resume(job, run_), job, SavedState(engine), engine.mesh().world(),
                                    [&](const std::string& what) { damaged.push_back(what); });
                    const std::lock_guard lock(mutex);
                    step = point ? point->step : -1;
                  } catch (const Error& refused) {
                    const std::lock_guard lock(mutex);
                    error = refused.what();
                  }
                  return 1;
                }});
    return error;
  }

  void flip_byte(const fs::path& path, int64_t offset) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(offset);
    const char byte = static_cast<char>(file.get() ^ 0x10);
    file.seekp(offset);
    file.put(byte);
  }

  ScratchDir scratch_;
  RunDirectory run_{scratch_.path(), "run"};
};

TEST_F(Resume, AutoTakesTheNewest) {
  EXPECT_THAT(plan_resume(job(), run_).checkpoints, ElementsAre(run_.checkpoint(2), run_.checkpoint(1)));
  std::vector<std::string> damaged;
  int64_t step = 0;
  EXPECT_EQ(load(job(), damaged, step), "");
  EXPECT_EQ(step, 2);
  EXPECT_TRUE(damaged.empty());
}

TEST_F(Resume, ADamagedCheckpointIsNamedAndTheOneBeforeIsTaken) {
  const Manifest manifest = read_manifest(run_.checkpoint(2));
  flip_byte(run_.checkpoint(2) / manifest.rank_files.at(1).name, manifest.rank_files.at(1).payload[0] + 5);
  std::vector<std::string> damaged;
  int64_t step = 0;
  EXPECT_EQ(load(job(), damaged, step), "");
  EXPECT_EQ(step, 1);
  ASSERT_EQ(damaged.size(), 1U);
  EXPECT_THAT(damaged[0], HasSubstr("step_00000002"));
  EXPECT_THAT(damaged[0], HasSubstr("rank_00001.h5"));
}

TEST_F(Resume, WithoutAnIntactCheckpointNothingStarts) {
  for (const int step : {1, 2}) flip_byte(run_.checkpoint(step) / Manifest::kFileName, 20);
  std::vector<std::string> damaged;
  int64_t step = 0;
  EXPECT_THAT(load(job(), damaged, step), HasSubstr("no checkpoint is intact"));
  EXPECT_EQ(damaged.size(), 2U);
}

TEST_F(Resume, NeverRefusesARunThatHasCheckpoints) {
  const JobConfig never = job({config::Resume::Kind::never, 0, ""});
  EXPECT_THROW((void)plan_resume(never, run_), Error);
  EXPECT_TRUE(plan_resume(never, RunDirectory(scratch_ / "new")).checkpoints.empty());
}

TEST_F(Resume, AStepOrAPath) {
  EXPECT_THAT(plan_resume(job({config::Resume::Kind::step, 1, ""}), run_).checkpoints, ElementsAre(run_.checkpoint(1)));
  EXPECT_THROW((void)plan_resume(job({config::Resume::Kind::step, 7, ""}), run_), Error);
  const RunDirectory fresh(scratch_ / "fresh");
  const auto from = [&](const fs::path& path) {
    return plan_resume(job({config::Resume::Kind::path, 0, path.string()}), fresh);
  };
  EXPECT_THAT(from(run_.root()).checkpoints, ElementsAre(run_.checkpoint(2), run_.checkpoint(1)));
  EXPECT_THAT(from(run_.checkpoint(1)).checkpoints, ElementsAre(run_.checkpoint(1)));
  EXPECT_EQ(from(scratch_ / "elsewhere").weights, scratch_ / "elsewhere");
}

TEST_F(Resume, T13AnotherModelSeedPrecisionOrTokenizerIsRefusedWithBothValues) {
  std::vector<std::string> damaged;
  int64_t step = 0;
  JobConfig other = job();
  other.model.hidden_size = 32;
  EXPECT_THAT(load(other, damaged, step), HasSubstr("hidden_size: 16 there, 32 in the job"));
  other = job();
  other.run.seed = 99;
  EXPECT_THAT(load(other, damaged, step), HasSubstr("run.seed is 1234 there and 99 in the job"));
  other = job();
  other.tokenizer.kind = config::TokenizerKind::gpt2_bpe;
  EXPECT_THAT(load(other, damaged, step), HasSubstr("tokenizer"));
  EXPECT_TRUE(damaged.empty());
}

TEST_F(Resume, LogicalShardsAreThoseOfTheRunsFirstStart) {
  JobConfig automatic = job();
  automatic.parallelism.logical_shards = config::Auto<int64_t>();
  EXPECT_EQ(adopt_saved(automatic).parallelism.logical_shards.value(), 2);
  automatic.parallelism.logical_shards = 5;
  EXPECT_EQ(adopt_saved(automatic).parallelism.logical_shards.value(), 5);
}

TEST_F(Resume, NewerCheckpointsAreSetAside) {
  const CheckpointRoot root(run_.checkpoints());
  EXPECT_EQ(set_newer_aside(root, 1), 1);
  ASSERT_EQ(root.list().size(), 1U);
  EXPECT_EQ(root.list()[0].step, 1);
  EXPECT_TRUE(fs::exists(run_.checkpoints() / "step_00000002.abandoned"));
  EXPECT_EQ(set_newer_aside(root, 1), 0);
}

}  // namespace
}  // namespace trident::testing
