#pragma once

#include <vector>

#include "plan/fit.h"

namespace trident {

/// This machine as the planner takes it, for training on its processors.
struct Calibration {
  plan::ClusterSpec cluster;
  std::vector<plan::MeasuredStep> steps;  ///< to which the three constants are fitted
};

/// Measures for some ten seconds: matrix products, memory, messages between two threads, and four steps of small
/// models on all processors. Wants a machine that does nothing else.
[[nodiscard]] Calibration calibrate();

}  // namespace trident
