#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "train/metrics/step_metrics.h"

namespace trident {

/// One line of `metrics.jsonl`, newline included. Losses and norms carry 17 significant digits; a value that is not
/// finite is null, and a loss or norm that is not finite adds `"nonfinite":true`.
std::string to_json_line(const StepMetrics& metrics);
std::string to_json_line(const EvalMetrics& metrics);

/// What a run's `metrics.jsonl` says, in the order of steps; of a step written by several attempts the highest stays.
struct MetricsHistory {
  std::vector<StepMetrics> steps;
  std::vector<EvalMetrics> evaluations;
  int last_attempt = 0;  ///< 0: no rows
  std::int64_t unreadable_lines = 0;
};

/// Adds a line of the file, as a row. False where it is none.
bool add_metrics_row(std::string_view line, MetricsHistory& history);

/// Every row as it was written, those of steps that were done again too.
MetricsHistory read_metrics_rows(const std::filesystem::path& path);

/// Sorts rows by step and keeps, of each step, the highest attempt.
void keep_highest_attempts(MetricsHistory& history);

/// Reads what can be read: malformed lines are counted, never fatal; a missing file is an empty history.
MetricsHistory read_metrics(const std::filesystem::path& path);

/// The highest `attempt` of a .jsonl file of rows or events, 0 where there is none. Fast: no line is parsed in full.
int highest_attempt(const std::filesystem::path& path);

}  // namespace trident
