#pragma once

#include "kernels/attention.h"

/// The CUDA kernels behind kernels/attention.h. They return before the work is done.
namespace trident::cuda {

void attention_forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out, Tensor& lse);
void attention_backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
                        const Tensor& lse, const Tensor& dout, Tensor& dqkv);
void attention_cached(const Stream& stream, const AttentionShape& shape, int64_t first_position, const Tensor& qkv,
                      const Tensor& keys, const Tensor& values, Tensor& out);

}  // namespace trident::cuda
