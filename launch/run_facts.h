#pragma once

#include "train/config/job_config.h"
#include "train/metrics/report.h"
#include "train/metrics/run_directory.h"

namespace trident {

[[nodiscard]] RunFacts facts_of(const JobConfig& job);
/// What a run's configuration says of it; empty, after a warning, where it cannot be read.
[[nodiscard]] RunFacts facts_of(const RunDirectory& run);

}  // namespace trident
