#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "data/tokenizer.h"
#include "data/training_data.h"
#include "data/validation_data.h"
#include "train/config/job_config.h"
#include "train/engine.h"
#include "train/lr_schedule.h"
#include "train/metrics/metrics_log.h"
#include "train/metrics/run_directory.h"
#include "train/microbatches.h"
#include "train/optimizer.h"

namespace trident {

enum class TrainingEnd {
  finished,   ///< all steps done
  stopped,    ///< training.stop_after reached
  preempted,  ///< asked to stop; weights are saved
};

/// Runs one job on one rank: steps, evaluation, samples, metrics, and the weights at the end.
class Trainer {
 public:
  /// Opens the data, plans memory, builds the model and gives it its initial weights. `job` has nothing left to
  /// `auto`. Throws Error.
  explicit Trainer(const JobConfig& job);
  ~Trainer();

  /// `stop` set by a signal handler ends the training after the step that is running. Throws Error, of
  /// ErrorCode::diverged where loss or gradients are not finite; the weights are then those before the bad step.
  TrainingEnd run(const std::atomic<bool>& stop);

 private:
  struct StepResult {
    double loss = 0.0;
    double grad_norm = 0.0;
    double lr = 0.0;
    PhaseSeconds seconds;
  };

  void report_plan(const MemoryEstimate& memory) const;
  void load_initial_weights();
  StepResult train_step(int64_t step);
  void refuse_divergence(int64_t step, const StepResult& result) const;
  void record(int64_t step, const StepResult& result, double step_s);
  void evaluate_if_due(int64_t step);
  void sample_if_due(int64_t step);
  void save_weights(int64_t step);

  JobConfig job_;
  RunDirectory run_;
  std::unique_ptr<Tokenizer> tokenizer_;
  TrainingData data_;
  std::optional<ValidationData> validation_;
  std::optional<Engine> engine_;
  std::optional<Optimizer> optimizer_;
  std::optional<MetricsLog> metrics_;
  LrSchedule schedule_;
  Microbatches microbatches_;
  int64_t tokens_ = 0;
  int64_t evaluated_step_ = -1;
};

}  // namespace trident
