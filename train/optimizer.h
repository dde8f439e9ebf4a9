#pragma once

#include "parallel/data/sharded_optimizer.h"

namespace trident {

/// The optimizer of a rank that holds the whole state is the sharded one with nothing shared.
using Optimizer = ShardedOptimizer;

/// The factor that brings a gradient of norm `norm` to at most `max_norm`; 1 where max_norm is 0 (no clipping).
[[nodiscard]] double clip_scale(double norm, double max_norm);

}  // namespace trident
