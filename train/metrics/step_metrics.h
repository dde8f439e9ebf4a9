#pragma once

#include <cstdint>
#include <limits>
#include <optional>

namespace trident {

/// Where a step's seconds went, on the rank that spent the longest; the parts need not add up to the step.
struct PhaseSeconds {
  double data = 0;        ///< waiting for the batch
  double compute = 0;     ///< forward and backward
  double comm = 0;        ///< communication that nothing hid
  double bubble = 0;      ///< waiting for a pipeline neighbour
  double optimizer = 0;   ///< gradient norm, clipping, update
  double checkpoint = 0;  ///< snapshot and whatever of the write blocked the step
};

/// One training step, as `metrics.jsonl` keeps it. Values that could not be had are NaN and written as null.
struct StepMetrics {
  int attempt = 1;        ///< grows with every restart of the run
  std::int64_t step = 0;  ///< from 1: after the update
  double loss = std::numeric_limits<double>::quiet_NaN();
  double grad_norm = std::numeric_limits<double>::quiet_NaN();
  double lr = 0;
  std::int64_t tokens = 0;    ///< label tokens consumed so far, this step included
  double step_s = 0;          ///< wall time of the step
  double tokens_per_s = 0;    ///< over all ranks
  PhaseSeconds time_s;        ///< written as `time_s{...}`
  std::optional<double> mfu;  ///< model FLOP/s over peak, 0..1; empty where the peak is unknown
  double memory_gib_max = 0;  ///< highest of any rank
  double time = std::numeric_limits<double>::quiet_NaN();  ///< when it ended, seconds since 1970; written as `ts`
};

/// One pass over the validation batches.
struct EvalMetrics {
  int attempt = 1;
  std::int64_t step = 0;  ///< the training step after which it ran
  double val_loss = std::numeric_limits<double>::quiet_NaN();
  std::int64_t tokens = 0;  ///< label tokens of the training so far
  double seconds = 0;
  double time = std::numeric_limits<double>::quiet_NaN();  ///< when it ended, as above
};

}  // namespace trident
