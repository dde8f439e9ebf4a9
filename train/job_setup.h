#pragma once

#include "parallel/comm/launch_environment.h"
#include "train/config/job_config.h"
#include "train/engine.h"
#include "train/lr_schedule.h"
#include "train/optimizer.h"

namespace trident {

// From the job's keys to what the trainer's parts take.

[[nodiscard]] DType compute_dtype(const JobConfig& job);
[[nodiscard]] LrSchedule lr_schedule(const JobConfig& job);
[[nodiscard]] AdamWOptions adamw_options(const JobConfig& job);
/// Layout and micro-batch size must be decided.
[[nodiscard]] EngineOptions engine_options(const JobConfig& job);

/// Decides the keys left to `auto` for this machine and the ranks that were started: layout, threads, micro-batch size.
/// Communicates with nobody, so that a job that cannot run is refused before MPI starts. Throws
/// Error(ErrorCode::config) where the layout needs another number of ranks, or the device is not there.
[[nodiscard]] JobConfig decide_auto(const JobConfig& job, const LaunchEnvironment& launch);

/// Bytes of memory that the system could give now.
[[nodiscard]] size_t available_memory();

}  // namespace trident
