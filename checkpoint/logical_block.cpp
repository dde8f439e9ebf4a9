#include "checkpoint/logical_block.h"

#include <algorithm>

namespace trident {

LogicalBlock whole_block(const Shape& global_shape) {
  return {0, global_shape[0], 0, global_shape.elements() / std::max<int64_t>(1, global_shape[0])};
}

LogicalBlock block_of(const Parameter& parameter) {
  LogicalBlock block = whole_block(parameter.global_shape);
  if (!parameter.sharded()) return block;
  const int dim = parameter.layout[Axis::tp].dim;
  TRIDENT_CHECK(dim == 0 || (dim == 1 && parameter.global_shape.rank() == 2), parameter.name);
  (dim == 0 ? block.row0 : block.column0) = parameter.shard_begin;
  (dim == 0 ? block.rows : block.columns) = parameter.shard_count;
  return block;
}

std::vector<LogicalBlock> rectangles_of(const LogicalBlock& part, int64_t begin, int64_t count) {
  TRIDENT_CHECK(begin >= 0 && count >= 0 && begin + count <= part.elements());
  std::vector<LogicalBlock> rectangles;
  const auto add = [&](int64_t row, int64_t rows, int64_t column, int64_t columns) {
    if (rows * columns > 0) rectangles.push_back({part.row0 + row, rows, part.column0 + column, columns});
  };
  const int64_t end = begin + count;
  if (count == 0) return rectangles;
  const int64_t width = part.columns, first = begin / width, last = (end - 1) / width;
  if (first == last) {
    add(first, 1, begin % width, count);
    return rectangles;
  }
  const int64_t whole_first = (begin + width - 1) / width, whole_last = end / width;
  if (begin % width != 0) add(first, 1, begin % width, width - begin % width);
  add(whole_first, whole_last - whole_first, 0, width);
  if (end % width != 0) add(last, 1, 0, end % width);
  return rectangles;
}

}  // namespace trident
