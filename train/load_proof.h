#pragma once

#include <span>
#include <string>
#include <vector>

#include "parallel/comm/communicator.h"
#include "train/saved_state.h"

namespace trident {

/// Proves a load under any layout with one sum over all ranks: empty, or which tensor's digest is not what the ranks
/// together expect. Every part of a tensor is in one rank's `loaded` and in one rank's `expected`; copies other than 0
/// are passed over. Collective.
[[nodiscard]] std::string wrong_digest(const std::vector<LogicalTensor>& tensors, int states,
                                       std::span<const PartialDigest> loaded, std::span<const PartialDigest> expected,
                                       const Communicator& world);

}  // namespace trident
