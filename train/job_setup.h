#pragma once

#include "parallel/comm/communicator.h"
#include "parallel/comm/launch_environment.h"
#include "train/clip_scale.h"
#include "train/config/job_config.h"
#include "train/engine.h"
#include "train/lr_schedule.h"

namespace trident {

// From the job's keys to what the trainer's parts take.

[[nodiscard]] LrSchedule lr_schedule(const JobConfig& job);
[[nodiscard]] AdamWOptions adamw_options(const JobConfig& job);
/// Layout and micro-batch size must be decided.
[[nodiscard]] EngineOptions engine_options(const JobConfig& job);

/// Decides what is left to `auto` in a job whose mesh is decided (train/config/decide_mesh.h), for this machine:
/// logical shards, threads, micro-batch size. Communicates with nobody. Throws Error(ErrorCode::config) where the
/// device is not there.
[[nodiscard]] JobConfig decide_auto(const JobConfig& job, const LaunchEnvironment& launch);

/// The job as rank 0 has it, where ranks decided differently what depends on their memory. Collective. Throws
/// Error(ErrorCode::config) on a rank that has read another job than rank 0.
[[nodiscard]] JobConfig agree_on_job(const JobConfig& job, const Communicator& world);

/// The stream on which this process's rank of the job computes: on the GPU that is its own among the node's, if its
/// device is cuda; several ranks share one where there are fewer. The device must be decided.
[[nodiscard]] Stream compute_stream(const JobConfig& job);

/// Bytes of memory that the system could give now.
[[nodiscard]] size_t available_memory();
/// Bytes that this node's GPUs could give now, together.
[[nodiscard]] size_t available_gpu_memory();

}  // namespace trident
