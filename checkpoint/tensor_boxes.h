#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "checkpoint/logical_block.h"
#include "core/shape.h"

namespace trident {

/// Part of a LogicalBlock that is a box in the tensor's own dimensions. Of every row of the block it holds `run`
/// neighbouring elements, from the row's element `skip` on.
struct TensorBox {
  std::array<int64_t, Shape::kMaxDims> start{}, count{};
  int64_t skip = 0;
  int64_t run = 0;
};

/// Cuts a block, whose columns count all dimensions but the outermost, into boxes. One for a vector, a matrix, or whole
/// rows.
[[nodiscard]] std::vector<TensorBox> tensor_boxes(const Shape& shape, const LogicalBlock& block);

}  // namespace trident
