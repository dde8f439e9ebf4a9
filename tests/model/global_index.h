#pragma once

#include "core/parameter.h"

namespace trident::testing {

/// The element of the logical tensor that element `index` of a rank's part is.
inline int64_t global_index(const Parameter& parameter, int64_t index) {
  if (!parameter.sharded()) return index;
  const Shape local = parameter.local_shape();
  const int64_t columns = local[-1], whole_columns = parameter.global_shape[-1];
  if (parameter.layout[Axis::tp].dim == 0)
    return index + parameter.shard_begin * (local.rank() == 1 ? 1 : whole_columns);
  return index / columns * whole_columns + parameter.shard_begin + index % columns;
}

}  // namespace trident::testing
