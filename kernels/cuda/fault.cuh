#pragma once

#include <cstdint>

#include "core/device.h"

namespace trident::cuda {

/// Tells the host that `value` at `row` is not in [lowest, limit). The first report since the host looked counts.
__device__ inline void report(DeviceFault* fault, DeviceFault::Kind kind, int64_t row, int64_t value, int64_t lowest,
                              int64_t limit) {
  if (atomicCAS_system(&fault->kind, int{DeviceFault::none}, int{kind}) != DeviceFault::none) return;
  fault->row = row;
  fault->value = value;
  fault->lowest = lowest;
  fault->limit = limit;
  __threadfence_system();
}

}  // namespace trident::cuda
