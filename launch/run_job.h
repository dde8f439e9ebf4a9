#pragma once

#include "launch/launch_options.h"
#include "launch/nodes.h"
#include "train/metrics/run_directory.h"

namespace trident {

/// Coordinates a job to its end, and shows it meanwhile. The exit code; of a schedule of faults that did not come about
/// as expected, 70.
[[nodiscard]] int run_job(LaunchPlan plan, const RunDirectory& folder, Nodes& nodes);

}  // namespace trident
