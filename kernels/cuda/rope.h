#pragma once

#include "kernels/rope.h"

/// The CUDA kernels behind kernels/rope.h. They return before the work is done.
namespace trident::cuda {

void rope_table(const Stream& stream, double theta, Tensor& table);
void rope(const Stream& stream, const AttentionShape& shape, const Tensor& table, int64_t first_position,
          RopeDirection direction, Tensor& qkv);

}  // namespace trident::cuda
