#pragma once

#include "core/device.h"
#include "core/tensor.h"
#include "kernels/cuda/fp8.h"

namespace trident::cuda {

enum class Orientation { as_is, transposed };

/// The bf16 matrix x[rows, columns] in fp8, as it is or transposed, at `to`; and its scale. Sizes are multiples of 16,
/// addresses of 16 bytes. Bits follow from the values alone. Nothing waits for the device.
void quantize(const Stream& stream, const Tensor& x, Fp8Format format, Orientation orientation, void* to,
              Fp8Scale* scale);

}  // namespace trident::cuda
