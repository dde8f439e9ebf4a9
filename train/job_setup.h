#pragma once

#include "train/config/job_config.h"
#include "train/engine.h"
#include "train/lr_schedule.h"
#include "train/optimizer.h"

namespace trident {

// From the job's keys to what the trainer's parts take.

[[nodiscard]] DType compute_dtype(const JobConfig& job);
[[nodiscard]] LrSchedule lr_schedule(const JobConfig& job);
[[nodiscard]] AdamWOptions adamw_options(const JobConfig& job);
/// training.micro_batch_size must be decided.
[[nodiscard]] EngineOptions engine_options(const JobConfig& job);

/// Decides the keys left to `auto` for this machine and one rank: threads, micro-batch size, layout. Throws
/// Error(ErrorCode::config) where the job asks for more ranks than were started, or for a device that is not there.
[[nodiscard]] JobConfig decide_auto(const JobConfig& job, int ranks);

/// Bytes of memory that the system could give now.
[[nodiscard]] size_t available_memory();

}  // namespace trident
