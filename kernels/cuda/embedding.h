#pragma once

#include "kernels/embedding.h"

/// The CUDA kernels behind kernels/embedding.h. They return before the work is done.
namespace trident::cuda {

void embedding_forward(const Stream& stream, const Tensor& tokens, const Tensor& table, const Tensor& positions,
                       int64_t first_position, Tensor& y, TableShard shard);
void embedding_backward(const Stream& stream, const Tensor& tokens, const Tensor& dy, Tensor& dtable,
                        Tensor& dpositions, TableShard shard);

}  // namespace trident::cuda
