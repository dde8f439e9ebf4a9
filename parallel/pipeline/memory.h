#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "parallel/pipeline/schedule.h"

namespace trident::pipeline {

/// What one microbatch leaves behind on one stage, in bytes or any other unit: from its forward to its input gradient,
/// and what of it (with the output gradients) is held from there to its weight gradient.
struct SavedSize {
  double until_input = 1;
  double until_weight = 1;
};

/// The largest sum of `Saved` sizes alive at once, per rank. `sizes` has one entry for all stages or one per stage.
[[nodiscard]] std::vector<double> peak_memory(const Schedule& schedule, std::span<const SavedSize> sizes);

/// The same, counted: the largest number of `Saved` values alive at once, per rank. A split backward holds the inputs
/// and output gradients of its linear layers until the weight gradient, so a deferred one counts in full.
[[nodiscard]] std::vector<int32_t> peak_live(const Schedule& schedule);

}  // namespace trident::pipeline
