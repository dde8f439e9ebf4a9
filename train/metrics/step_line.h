#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "train/metrics/rolling_stats.h"
#include "train/metrics/step_metrics.h"

namespace trident {

enum class Colour { never, ansi };

/// How lines are set: `columns` 0 sets no limit.
struct ConsoleStyle {
  Colour colour = Colour::never;
  int columns = 0;
};

/// The style for what stands behind `descriptor`: colour only on a terminal and without NO_COLOR; its width.
ConsoleStyle console_style(int descriptor);

/// Makes the console's line of a step:
/// `step 8120/23842 | loss 2.1873 (+0.1z) | gnorm 0.41 (-0.2z) | lr 2.9e-04 | 6.07s (data 0.01 comm 0.60) | ...`
/// A z-score is over the last 128 steps. Every step must be shown to `observe`, printed or not. What the machine
/// does not tell (MFU, memory) is left out; on a narrow terminal the least important fields go first.
class StepLine {
 public:
  StepLine(std::int64_t total_steps, ConsoleStyle style) : total_steps_(total_steps), style_(style) {}

  void observe(const StepMetrics& metrics);
  void observe(const EvalMetrics& metrics);

  /// The line of the last observed step, without newline.
  std::string text() const;
  /// `  eval step 8000 | val loss 2.2013 | 3.1s`
  std::string text(const EvalMetrics& metrics) const;

 private:
  std::int64_t total_steps_;
  ConsoleStyle style_;
  RollingStats loss_;
  RollingStats grad_norm_;
  RemainingTime remaining_;
  StepMetrics last_;
  std::optional<double> loss_z_;
  std::optional<double> grad_norm_z_;
};

}  // namespace trident
