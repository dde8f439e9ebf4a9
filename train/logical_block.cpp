#include "train/logical_block.h"

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

}  // namespace trident
