#pragma once

#include <span>

#include "plan/cluster_spec.h"
#include "plan/layout.h"

namespace trident::plan {

/// A step that was measured.
struct MeasuredStep {
  Workload workload;
  Layout layout;
  double step_s = 0;
};

/// The constants with the least sum of squared relative errors, `cluster`'s other values given. On a grid of a few per
/// cent, which leaves no doubt about the minimum. On processors, whose peaks are measured ones, they may exceed 1.
[[nodiscard]] FittedConstants fit_constants(ClusterSpec cluster, std::span<const MeasuredStep> steps);

}  // namespace trident::plan
