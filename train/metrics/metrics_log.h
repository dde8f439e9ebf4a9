#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "train/metrics/append_file.h"
#include "train/metrics/events_file.h"
#include "train/metrics/report.h"
#include "train/metrics/run_directory.h"
#include "train/metrics/step_line.h"
#include "train/metrics/step_metrics.h"
#include "train/metrics/tensorboard_writer.h"

namespace trident {

struct MetricsOptions {
  RunFacts facts{};
  std::int64_t console_interval = 1;  ///< a line every so many steps; 0: none
  bool tensorboard = true;
  int attempt = 0;  ///< 0: one more than the highest in the run directory
  /// Where console lines go (without newline); the standard error stream where empty.
  std::function<void(std::string_view)> console{};
  std::optional<ConsoleStyle> style{};  ///< that of the standard error stream where empty
};

/// Everything a run tells while it trains, called by the one rank that knows the loss: metrics.jsonl, events.jsonl,
/// TensorBoard, the console and, at the end, report.html. Only the constructor throws; afterwards a sink that fails
/// warns once and the training goes on.
class MetricsLog {
 public:
  /// Creates the run directory where needed, cuts torn last lines off and opens the files. Throws Error.
  MetricsLog(RunDirectory run, MetricsOptions options);

  int attempt() const { return attempt_; }

  /// Once a step. `attempt` of the argument is replaced by this log's.
  void record(StepMetrics metrics) noexcept;
  void record(EvalMetrics metrics) noexcept;
  /// Text that the model generated after `step`.
  void sample(std::int64_t step, std::string_view text) noexcept;
  /// Attempt, time, host and process are filled in where they are empty.
  void event(EventRecord record) noexcept;

  /// Draws the loss on the console and writes report.html. May be called again.
  void finish() noexcept;

  /// Lines that no file took: the disk was full for too long.
  std::int64_t lost_lines() const { return metrics_file_.lost_records() + events_file_.lost_records(); }

 private:
  template <class Action>
  void guarded(const char* what, Action action) noexcept;
  void start_tensorboard_session(std::int64_t step);
  void tensorboard_step(const StepMetrics& metrics);
  void print(std::string_view line) const;

  RunDirectory run_;
  MetricsOptions options_;
  int attempt_;
  AppendFile metrics_file_;
  AppendFile events_file_;
  std::optional<TensorBoardWriter> tensorboard_;
  StepLine step_line_;
  bool session_started_ = false;
  bool warned_ = false;
};

}  // namespace trident
