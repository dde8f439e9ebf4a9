#pragma once

#include <cstddef>
#include <vector>

#include "parallel/pipeline/schedule.h"

namespace trident::pipeline {

/// Runs a lowered schedule's communication with nothing buffered: a rank stands at a send until its receiver stands at
/// the receive, and at REDUCE_TIED until its partner does. Returns, per rank, the index of the action at which it
/// stands for ever; the list's length where it reaches its end. Stages and microbatches must be within their bounds.
[[nodiscard]] std::vector<size_t> rendezvous(const Schedule& lowered);

}  // namespace trident::pipeline
