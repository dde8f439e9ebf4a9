#pragma once

#include "data/training_data.h"
#include "parallel/comm/device_mesh.h"
#include "train/config/job_config.h"
#include "train/engine.h"

namespace trident {

// What a job says of itself in the log before its first step, and at its end.

/// Model, data and batch. On one rank.
void report_job(const JobConfig& job, const EngineOptions& options, const TrainingData& data, Device device);

/// How ranks share the work; nothing where there is one. Rank 0 writes it.
void report_layout(const JobLayout& layout, const DeviceMesh& mesh);

/// The plan of the rank that needs the most. Collective. Throws Error(ErrorCode::config) on a node whose ranks need
/// more than it has.
void require_memory(const MemoryEstimate& planned, const DeviceMesh& mesh, const Stream& stream, int64_t threads);

/// What the rank that used the most did use, beside what was planned for it. Collective.
void report_memory(const MemoryEstimate& used, const MemoryEstimate& planned, const Communicator& world);

}  // namespace trident
