#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "parallel/pipeline/schedule.h"

namespace trident::pipeline {

/// One total order in which a schedule's computation can run, each action as early as its inputs allow, when a forward,
/// an input and a weight gradient take one unit of time each.
struct Replay {
  struct Step {
    int32_t rank = 0;
    Action action;
  };
  std::vector<Step> order;         ///< by the time at which the actions end
  std::vector<size_t> stopped_at;  ///< per rank, the index of the first action that never ran; its length if all did
  [[nodiscard]] bool complete(const Schedule& schedule) const;
};

/// Sends, receives and reductions are passed over. Stages, microbatches and ranks must be within their bounds.
[[nodiscard]] Replay replay(const Schedule& schedule);

}  // namespace trident::pipeline
