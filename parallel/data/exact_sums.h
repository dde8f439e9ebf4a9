#pragma once

#include "core/exact_sum.h"
#include "parallel/comm/communicator.h"

namespace trident {

/// sum = Σ over all ranks' sums, without rounding: losses and squares of gradients come out the same however they were
/// spread over ranks.
void all_reduce(const Communicator& group, ExactSum& sum);

}  // namespace trident
