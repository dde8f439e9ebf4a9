#pragma once

#include <atomic>
#include <optional>

#include "train/checkpointer.h"
#include "train/clip_scale.h"
#include "train/config/job_config.h"
#include "train/engine.h"
#include "train/job_data.h"
#include "train/lr_schedule.h"
#include "train/metrics/metrics_log.h"
#include "train/metrics/run_directory.h"
#include "train/microbatches.h"
#include "train/progress.h"
#include "train/resume.h"
#include "train/save_timer.h"
#include "train/step_prediction.h"
#include "train/step_trace.h"
#include "train/text_sampler.h"

namespace trident {

enum class TrainingEnd {
  finished,   ///< all steps done
  stopped,    ///< training.stop_after reached
  preempted,  ///< asked to stop; the state is saved
};

/// What whoever supervises a gang gives its ranks.
struct TrainerOptions {
  std::string snapshots{};            ///< names the shared memory that keeps the state beyond this process; empty: none
  TrainProgress* progress = nullptr;  ///< told where training is; outlives the trainer
  int attempt = 0;                    ///< of this start, for metrics and events; 0: one more than the last
  FileSystem* files = &posix_file_system();  ///< for checkpoints; outlives the trainer
  int64_t suspect_step = 0;                  ///< whose result was not finite before; 0: none
  double predicted_step_s = 0;               ///< the planner's, reported beside the median of the first ten; 0: none
};

/// One rank of a job: steps, evaluation, samples, checkpoints, and on rank 0 metrics. What every rank of the world does
/// together, all of them must call.
class Trainer {
 public:
  /// Opens the data, plans memory, builds this rank's part of the model and gives it the state that the run goes on
  /// from, or its initial weights. `job` has nothing left to `auto`. Collective. Throws Error.
  Trainer(const JobConfig& job, const Communicator& world, TrainerOptions options = {});
  ~Trainer();

  /// `stop` set on any rank by a signal ends the training after the step that is running. Throws Error, of
  /// ErrorCode::diverged where loss or gradients are not finite; the state saved is then that before the bad step.
  TrainingEnd run(const std::atomic<bool>& stop);

 private:
  struct StepResult {
    double loss = 0.0;
    double grad_norm = 0.0;
    double lr = 0.0;
    PhaseSeconds seconds;
    double memory_gib_max = 0.0;
  };
  /// Seconds that this rank waited for others so far.
  struct Waited {
    double comm = 0.0;    ///< along dp and tp
    double bubble = 0.0;  ///< for pipeline neighbours
  };

  [[nodiscard]] bool is_first() const { return mesh_.world().rank() == 0; }
  void open_run();
  void open_metrics();
  void start_or_resume();
  [[nodiscard]] CheckpointerOptions checkpointer_options() const;
  void enter(TrainPhase phase);
  void tell_holdings();
  void snapshot();
  void wait_copied();
  [[nodiscard]] std::optional<RestoredState> restore_newest(int64_t at_least);
  [[nodiscard]] std::optional<ResumePoint> resume();
  void go_on_from(const ResumePoint& point);
  void tell_of_memory();
  void load_initial_weights();
  StepResult train_step(int64_t step);
  [[nodiscard]] int64_t labels_of_a_step() const;
  void refuse_divergence(int64_t step, const StepResult& result);
  [[nodiscard]] bool tries_again(int64_t step) const;
  [[nodiscard]] int who_is_not_finite();
  void check_replicas(int64_t step);
  void check_before_save();
  void compare_replicas(int64_t step);
  void go_back_to_snapshot();
  void forget_unverified();
  void record(int64_t step, const StepResult& result, double step_s);
  void evaluate_if_due(int64_t step);
  void sample_if_due(int64_t step);
  void save_if_due();
  void save();
  void save_at_end();
  void tell(const std::vector<SaveOutcome>& outcomes);
  void train_until(int64_t last, const std::atomic<bool>& stop);
  void agree(StepResult& result, bool stop);
  [[nodiscard]] Waited waited() const;
  void event(const EventRecord& record);

  JobConfig job_;
  TrainerOptions options_;
  StepTrace trace_;
  Stream stream_;
  DeviceMesh mesh_;
  RunDirectory run_;
  ResumePlan plan_;
  JobInputs inputs_;
  MemoryEstimate planned_;
  std::optional<Engine> engine_;
  std::optional<TextSampler> sampler_;
  std::optional<MetricsLog> metrics_;  // on rank 0
  LrSchedule schedule_;
  Microbatches microbatches_;
  SaveTimer save_timer_;
  std::optional<Checkpointer> checkpointer_;
  int64_t step_ = 0;     // updates done
  int64_t samples_ = 0;  // consumed
  int64_t tokens_ = 0;
  int64_t copied_step_ = -1;    // the last whose snapshot was started
  int64_t saved_step_ = -1;     // the last that was saved, or that the run goes on from
  int64_t first_step_ = 0;      // that this start went on from
  int64_t verified_step_ = -1;  // the last whose copies were found equal
  int64_t skipped_saves_ = 0;
  std::string failed_save_;        // why the last failed one did
  double checkpoint_seconds_ = 0;  // that training waited for, not yet in a step's record
  bool stop_agreed_ = false;
  bool save_agreed_ = false;
  int64_t evaluated_step_ = -1;
  StepPrediction prediction_;  // on rank 0
};

}  // namespace trident
