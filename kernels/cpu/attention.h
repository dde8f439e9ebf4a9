#pragma once

#include "kernels/attention.h"
#include "kernels/gemm_tuning.h"

namespace trident::cpu {

// kernels/attention.h on CPU streams.
void attention_forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out, Tensor& lse);
void attention_backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
                        const Tensor& lse, const Tensor& dout, Tensor& dqkv);
void attention_cached(const Stream& stream, const AttentionShape& shape, int64_t first_position, const Tensor& qkv,
                      const Tensor& keys, const Tensor& values, Tensor& out);

// The block products that these would ask for.
void record_attention_forward(GemmRecorder& recorder, const AttentionShape& shape, DType dtype);
void record_attention_backward(GemmRecorder& recorder, const AttentionShape& shape, DType dtype);

}  // namespace trident::cpu
