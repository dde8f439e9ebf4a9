#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

#include "parallel/data/sharded_optimizer.h"

namespace trident {

/// What a rank trains, for tests that damage it.
struct RankHoldings {
  Stream stream;
  std::span<Parameter* const> parameters;
  std::vector<OwnedPiece> pieces;  ///< the optimizer's state
  /// Waits until weights are those of the last step and their snapshot is taken. By the training thread.
  std::function<void()> settle;
  /// The newest whole snapshot; empty where there is none.
  std::function<std::span<std::byte>()> snapshot;
};

}  // namespace trident
