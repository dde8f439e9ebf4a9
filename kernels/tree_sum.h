#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/device.h"
#include "core/dtype.h"

namespace trident {

/// One addition of a sum that keeps a fixed order. An operand is a source, or else (negative) the temporary
/// −1 − operand, which an earlier addition gave.
struct TreeAddition {
  std::array<int, 4> terms{};
  int term_count = 0;  ///< two or three: added in their order; four: as two pairs
  int result = 0;      ///< a temporary; the last addition gives the sum instead
};

/// What a call of tree_sum may have.
inline constexpr size_t kMostTreeSources = 128;

/// out[i] = what the additions give for sources[…][i], i in [0, count), of fp32 or fp64, in one pass and with the same
/// bits as on the CPU. For CUDA streams, which it does not wait for. `out` may be one of the sources.
/// Throws Error(ErrorCode::config) for more than kMostTreeSources sources.
void tree_sum(const Stream& stream, DType dtype, std::span<const std::byte* const> sources,
              std::span<const TreeAddition> additions, int64_t count, std::byte* out);

}  // namespace trident
