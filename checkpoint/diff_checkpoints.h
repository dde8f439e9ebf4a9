#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_reader.h"
#include "checkpoint/manifest.h"

namespace trident {

/// How one state of one tensor differs between two checkpoints, a and b.
struct TensorDifference {
  std::string tensor;
  StateKind kind = StateKind::master;
  std::string detail;        ///< shapes, or that it is only in one; then the numbers below are 0
  int64_t elements = 0;      ///< that differ; between equal types, in any bit
  double largest = 0;        ///< absolute; infinite where an element is finite in one alone
  double relative_norm = 0;  ///< ‖a − b‖ / ‖a‖; infinite where a is zero
};

/// In the order of a's tensors, then those of b alone. Tensors whose digests are equal are not read. Throws what
/// CheckpointReader::read throws.
[[nodiscard]] std::vector<TensorDifference> diff_checkpoints(CheckpointReader& a, CheckpointReader& b);

}  // namespace trident
