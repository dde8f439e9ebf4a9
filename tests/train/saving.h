#pragma once

#include <filesystem>
#include <mutex>
#include <optional>

#include "tests/train/layout_runs.h"
#include "train/checkpointer.h"
#include "train/config/job_config.h"
#include "train/resume.h"

namespace trident::testing {

/// The system's files, except that nothing waits for the device: tests that end no process need not.
[[nodiscard]] FileSystem& unsynced_files();

/// A small Llama in one step of fp32 or fp64, cut over dp × tp ranks.
[[nodiscard]] LayoutRun small_run(int dp, int tp, DType compute = DType::fp64);

/// A job with the model and the layout of a test's training.
[[nodiscard]] JobConfig job_of(const LayoutRun& run);
[[nodiscard]] CheckpointerOptions options_of(const LayoutRun& run, const std::filesystem::path& root);

/// Saves the state after `step` on every rank, and waits.
void save_now(const Engine& engine, const LayoutRun& run, const std::filesystem::path& root, int step);
/// Loads the newest checkpoint of the root on every rank; the step, nothing where there is none.
[[nodiscard]] std::optional<ResumePoint> load_now(Engine& engine, const LayoutRun& run,
                                                  const std::filesystem::path& root);

/// Gathers the whole state from all ranks of one training.
class StateCollector {
 public:
  void add(const Engine& engine) {
    const std::lock_guard lock(mutex_);
    add_state(engine, state_);
  }
  [[nodiscard]] const WholeState& state() const { return state_; }

 private:
  std::mutex mutex_;
  WholeState state_;
};

}  // namespace trident::testing
