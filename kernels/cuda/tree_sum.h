#pragma once

#include "kernels/tree_sum.h"

/// The CUDA kernel behind kernels/tree_sum.h. It returns before the work is done.
namespace trident::cuda {

void tree_sum(const Stream& stream, DType dtype, std::span<const std::byte* const> sources,
              std::span<const TreeAddition> additions, int64_t count, std::byte* out);

}  // namespace trident::cuda
