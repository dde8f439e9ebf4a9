#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/status/rank_board.h"
#include "launch/status/run_files.h"
#include "train/metrics/ledger.h"
#include "train/metrics/report.h"
#include "train/metrics/straggler_spans.h"

namespace trident {

/// Steps and a value at each, thinned out to what a chart shows.
struct Curve {
  std::vector<int64_t> steps;
  std::vector<double> values;
};

/// How long steps took, those done again too; Prometheus's histogram.
struct StepDurations {
  static constexpr std::array<double, 16> kBounds{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                                  2.5,   5,    10,    25,   50,  100,  250, 500};
  std::array<uint64_t, kBounds.size() + 1> counts{};  ///< by bucket, not cumulative; the last is what is above
  double sum = 0;
};

/// A run at one moment: what the page, the metrics and `trident watch` show.
struct RunStatus {
  double now = 0;  ///< seconds since 1970
  std::string name;
  std::string folder;
  /// starting, training, recovering, silent, ended; of a run that nobody supervises: complete, stopped, failed, unknown
  std::string state;
  bool healthy = false;  ///< it makes progress
  std::string reason;    ///< why not, or what it is at
  int64_t total_steps = 0;
  int64_t parameters = 0;
  StepMetrics last;  ///< last step that stands; step 0: none yet
  EvalMetrics last_evaluation;
  double tokens_per_s = std::numeric_limits<double>::quiet_NaN();  ///< median of the last steps
  double step_s = std::numeric_limits<double>::quiet_NaN();        ///< the same
  std::optional<double> eta_s;
  double tokens_done = 0;  ///< those of steps done again too
  PhaseSeconds phases;     ///< sums over all steps, those done again too
  StepDurations durations;
  Curve loss;
  Curve validation_loss;
  std::shared_ptr<const GangStatus> gang;  ///< null where nobody supervises the run
  int64_t epoch = 0;
  MeshShape mesh{0, 0, 0};                ///< zeros: not known
  std::map<std::string, int64_t> faults;  ///< verdicts by cause
  std::vector<EventRecord> events;        ///< the last, newest first, without samples and beginnings of saves
  std::vector<StragglerSpan> stragglers;  ///< the last, newest first
  std::vector<int> slow_ranks;            ///< now
  int64_t checkpoints = 0;
  int64_t checkpoint_step = -1;
  double checkpoint_s = 0;
  Ledger ledger;
};

/// What is known of a run from its files and, where a supervisor runs it, from its gang.
[[nodiscard]] RunStatus make_status(const RunDirectory& run, const RunFacts& facts, const RunFiles& files,
                                    std::shared_ptr<const GangStatus> gang, double now);

}  // namespace trident
