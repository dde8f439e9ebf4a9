#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/cluster_spec.h"

namespace trident::plan {

/// A long training on machines that fail. Times in seconds.
struct GoodputJob {
  int64_t accelerators = 1;
  int64_t accelerators_per_node = 8;
  int64_t spare_nodes = 0;
  FailureRates failures;
  double step_s = 10;
  double days = 54;
  double checkpoint_interval_s = 0;  ///< 0: the recommended one
  double checkpoint_cost_s = 1;      ///< how long one keeps the training waiting
  double detection_s = 5;            ///< from an interruption until the rest knows
  double restart_s = 60;             ///< until the next gang computes, its state loaded
  /// Where only processes end, the state of the last step is still in the nodes' memory.
  bool snapshots_in_memory = true;
  /// Without a spare node, go on with fewer replicas; else wait for the repair.
  bool elastic = true;
  uint64_t seed = 1;
};

/// Where the time went, seconds.
struct GoodputResult {
  double total = 0;
  double effective = 0;  ///< steps that stayed, at the full machine's speed
  double checkpoint = 0;
  double detection = 0;
  double restart = 0;
  double lost = 0;      ///< steps that were done again
  double degraded = 0;  ///< what missing nodes would have done
  double waiting = 0;   ///< for repairs
  int64_t interruptions = 0;
  int64_t node_losses = 0;
  double checkpoint_interval_s = 0;
  [[nodiscard]] double goodput() const { return total > 0 ? effective / total : 0; }
};

/// Mean time between interruptions of the job, seconds; infinite where nothing fails.
[[nodiscard]] double mean_time_between(const GoodputJob& job);

/// Daly's interval (2006), which is Young's √(2·cost·M) with higher-order terms: what loses least to checkpoints and to
/// steps that are done again. `mean` is the mean time between failures that need the checkpoint.
[[nodiscard]] double recommended_interval(double checkpoint_cost_s, double mean);

/// Event by event, with exponential times between interruptions drawn from the seed: the same job gives the same
/// result everywhere. Throws Error(usage) where there is nothing to simulate, or more than a million interruptions.
[[nodiscard]] GoodputResult simulate_goodput(const GoodputJob& job);

}  // namespace trident::plan
