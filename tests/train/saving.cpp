#include "tests/train/saving.h"

#include <gtest/gtest.h>

#include <memory>
#include <utility>

#include "checkpoint/forwarding_files.h"
#include "train/checkpoint_facts.h"

namespace trident::testing {
namespace {

namespace fs = std::filesystem;

class UnsyncedFile : public WritableFile {
 public:
  explicit UnsyncedFile(std::unique_ptr<WritableFile> file) : file_(std::move(file)) {}
  void write(int64_t offset, std::span<const std::byte> bytes) override { file_->write(offset, bytes); }
  void reserve(int64_t bytes) override { file_->reserve(bytes); }
  void sync() override {}
  void close() override { file_->close(); }

 private:
  std::unique_ptr<WritableFile> file_;
};

class UnsyncedFiles : public ForwardingFiles {
 public:
  std::unique_ptr<WritableFile> create(const fs::path& path) override {
    return std::make_unique<UnsyncedFile>(posix_file_system().create(path));
  }
  void sync_directory(const fs::path& /*path*/) override {}
};

}  // namespace

FileSystem& unsynced_files() {
  static UnsyncedFiles files;
  return files;
}

LayoutRun small_run(int dp, int tp, DType compute) {
  LayoutRun run;
  run.model = sized_model(Family::llama_gqa,
                          {.width = {16, 24}, .layers = 2, .heads = {4, 2}, .vocabulary = 19, .positions = 8});
  run.compute = compute;
  run.layout = layout_of({dp, tp, 1});
  run.steps = 1;
  return run;
}

JobConfig job_of(const LayoutRun& run) {
  JobConfig job;
  static_cast<ModelConfig&>(job.model) = run.model;
  const JobLayout& layout = run.layout;
  job.parallelism.dp = layout.mesh.dp;
  job.parallelism.tp = layout.mesh.tp;
  job.parallelism.pp = layout.mesh.pp;
  job.parallelism.zero_stage = static_cast<int64_t>(layout.zero_stage);
  job.parallelism.logical_shards = layout.logical_shards;
  job.training.global_batch_size = run.global_batch_size;
  job.training.steps = 1000;
  return job;
}

CheckpointerOptions options_of(const LayoutRun& run, const std::filesystem::path& root) {
  const JobConfig job = job_of(run);
  CheckpointerOptions options;
  options.root = root;
  options.files = &unsynced_files();
  options.attempt = "attempt";
  options.manifest = manifest_of(job, "0123456789abcdef0123456789abcdef");
  options.attachments = attachments_of(job, RunDirectory(root.parent_path()), {});
  return options;
}

void save_now(const Engine& engine, const LayoutRun& run, const std::filesystem::path& root, int step) {
  Checkpointer checkpointer(engine, options_of(run, root));
  EXPECT_TRUE(checkpointer.save(step, step * run.global_batch_size));
  const auto outcomes = checkpointer.finish();
  ASSERT_EQ(outcomes.size(), 1U);
  EXPECT_EQ(outcomes[0].error, "");
  EXPECT_EQ(outcomes[0].step, step);
}

std::optional<ResumePoint> load_now(Engine& engine, const LayoutRun& run, const std::filesystem::path& root) {
  ResumePlan plan;
  for (const auto& entry : CheckpointRoot(root).list()) plan.checkpoints.push_back(entry.folder);
  auto point = load_newest(plan, job_of(run), SavedState(engine), engine.mesh().world(),
                           [](const std::string& what) { ADD_FAILURE() << what; });
  engine.refresh_compute_weights();
  return point;
}

}  // namespace trident::testing
