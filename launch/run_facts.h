#pragma once

#include "train/metrics/report.h"
#include "train/metrics/run_directory.h"

namespace trident {

/// What a run's configuration says of it; empty, after a warning, where it cannot be read.
[[nodiscard]] RunFacts facts_of(const RunDirectory& run);

}  // namespace trident
