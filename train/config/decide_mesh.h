#pragma once

#include <optional>
#include <string>

#include "parallel/comm/launch_environment.h"
#include "plan/cluster_spec.h"
#include "train/config/config.h"

namespace trident {

/// How the user starts ranks: `before N after JOB.yaml …`.
struct StartCommand {
  std::string before;
  std::string after{};
};

/// The job with dp, tp and pp decided for the ranks that were started: where they are `auto`, tp and pp are 1 and dp
/// takes what is left; of `parallelism: auto` with a `cluster` the planner's first choice, with all that it searches.
/// Needs no communication: called before MPI starts. Throws ConfigErrors at the keys' places, with
/// the command that starts the right number of ranks and the nearest legal mesh for those that there are, where
/// dp·tp·pp is another number; and where the job cannot run with the dp that was decided.
/// A launcher that does not say how many ranks there are (size 0) leaves the job as it is: call again once MPI says.
/// `start` is the command that is advised; nothing: the launcher's own.
[[nodiscard]] JobConfig decide_mesh(JobConfig job, const ResolvedOrigins& origins, const LaunchEnvironment& launch,
                                    const plan::ClusterSpec* cluster = nullptr,
                                    const std::optional<StartCommand>& start = std::nullopt);

}  // namespace trident
