#pragma once

#include <cstdint>
#include <vector>

#include "core/parameter.h"

namespace trident {

/// A rectangle of a logical tensor, which is seen as rows of its outermost dimension; a vector is one column.
struct LogicalBlock {
  int64_t row0 = 0;
  int64_t rows = 0;
  int64_t column0 = 0;
  int64_t columns = 0;

  [[nodiscard]] int64_t elements() const { return rows * columns; }
  bool operator==(const LogicalBlock&) const = default;
};

[[nodiscard]] LogicalBlock whole_block(const Shape& global_shape);
/// The local part.
[[nodiscard]] LogicalBlock block_of(const Parameter& parameter);
/// Elements [begin, begin + count) of `part`, counted row by row, as at most three rectangles in that order.
[[nodiscard]] std::vector<LogicalBlock> rectangles_of(const LogicalBlock& part, int64_t begin, int64_t count);

}  // namespace trident
