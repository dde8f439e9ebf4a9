#include "train/load_proof.h"

#include <fmt/format.h>

namespace trident {

std::string wrong_digest(const std::vector<LogicalTensor>& tensors, int states, std::span<const PartialDigest> loaded,
                         std::span<const PartialDigest> expected, const Communicator& world) {
  // Halves, because a sum of whole digests wraps.
  std::vector<int64_t> halves(tensors.size() * kStateKinds * 2);
  const auto add = [&](std::span<const PartialDigest> parts, int64_t sign) {
    for (const PartialDigest& part : parts) {
      if (part.copy != 0) continue;
      for (size_t kind = 0; kind < kStateKinds; ++kind) {
        int64_t* half = halves.data() + (static_cast<size_t>(part.tensor) * kStateKinds + kind) * 2;
        half[0] += sign * static_cast<int64_t>(part.digest[kind] & 0xffffffffU);
        half[1] += sign * static_cast<int64_t>(part.digest[kind] >> 32);
      }
    }
  };
  add(loaded, 1);
  add(expected, -1);
  world.all_reduce(std::span<int64_t>(halves), ReduceOp::sum);
  for (size_t tensor = 0; tensor < tensors.size(); ++tensor) {
    for (size_t kind = 0; kind < static_cast<size_t>(states); ++kind) {
      const int64_t* half = halves.data() + (tensor * kStateKinds + kind) * 2;
      if (static_cast<uint64_t>(half[0]) + (static_cast<uint64_t>(half[1]) << 32) == 0) continue;
      return fmt::format("{} of {} does not have the digest that it was saved with",
                         to_string(static_cast<StateKind>(kind)), tensors[tensor].name);
    }
  }
  return {};
}

}  // namespace trident
