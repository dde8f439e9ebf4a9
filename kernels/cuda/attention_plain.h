#pragma once

#include "kernels/attention.h"

/// Attention for every type and any head dimension up to 256, in the accumulator's precision throughout.
namespace trident::cuda {

void plain_attention_forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out,
                             Tensor& lse);
void plain_attention_backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
                              const Tensor& lse, const Tensor& dout, Tensor& dqkv);
void plain_attention_cached(const Stream& stream, const AttentionShape& shape, int64_t first_position,
                            const Tensor& qkv, const Tensor& keys, const Tensor& values, Tensor& out);

}  // namespace trident::cuda
