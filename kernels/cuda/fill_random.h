#pragma once

#include <cstddef>

#include "core/device.h"
#include "core/dtype.h"

namespace trident::cuda {

/// Fills the stream's device's memory with numbers of `dtype`, uniform in [-1, 1), the same every time.
void fill_random(const Stream& stream, void* memory, size_t bytes, DType dtype);

}  // namespace trident::cuda
