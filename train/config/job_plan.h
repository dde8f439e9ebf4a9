#pragma once

#include "plan/search.h"
#include "train/config/job_config.h"

namespace trident {

// Between a job's keys and the values of trainer and planner.

[[nodiscard]] DType compute_dtype(const JobConfig& job);
/// Of the blocks' products.
[[nodiscard]] LinearPrecision linear_precision(const JobConfig& job);
[[nodiscard]] Recompute recompute_of(config::Recompute recompute);

/// dp, tp and pp, which must be decided.
[[nodiscard]] MeshShape mesh_of(const JobConfig& job);
[[nodiscard]] MeshShape mesh_of(const plan::Layout& layout);
/// What the job trains.
[[nodiscard]] plan::Workload workload_of(const JobConfig& job);
[[nodiscard]] plan::SearchSpace search_space(const JobConfig& job, int64_t ranks);
/// The layout that a job's keys fix; all of them must be decided.
[[nodiscard]] plan::Layout layout_of(const JobConfig& job);
/// The job with the layout's values in its keys.
[[nodiscard]] JobConfig with_layout(JobConfig job, const plan::Layout& layout);

}  // namespace trident
