#pragma once

#include <optional>

#include "parallel/comm/launch_environment.h"
#include "plan/cluster_spec.h"
#include "train/config/job_config.h"

namespace trident {

/// The machine on which a job is about to run: the file that TRIDENT_CLUSTER names (`trident doctor --calibrate` writes
/// this machine's), else this machine's processors at rates that usual ones have. Nothing where the job runs on GPUs
/// and no file describes them. The same on all ranks of like nodes, however they are bound and whatever else runs.
[[nodiscard]] std::optional<plan::ClusterSpec> local_cluster(const JobConfig& job, const LaunchEnvironment& launch);

/// What is left to go on with is chosen for: the launch's ranks on places of their own (plan::place_for_each). GPUs
/// that no file describes have rates that usual ones have, and their own memory.
[[nodiscard]] plan::ClusterSpec places_of_ranks(const JobConfig& job, const LaunchEnvironment& launch);

/// Seconds that a step of the job should take here: where TRIDENT_CLUSTER describes the machine; otherwise 0. Nothing
/// of the job may be left to `auto`.
[[nodiscard]] double predicted_step(const JobConfig& job);

}  // namespace trident
