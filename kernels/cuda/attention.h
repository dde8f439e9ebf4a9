#pragma once

#include "kernels/attention.h"

/// The CUDA kernels behind kernels/attention.h. They return before the work is done.
namespace trident::cuda {

void attention_forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out, Tensor& lse);
void attention_backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
                        const Tensor& lse, const Tensor& dout, Tensor& dqkv);
void attention_cached(const Stream& stream, const AttentionShape& shape, int64_t first_position, const Tensor& qkv,
                      const Tensor& keys, const Tensor& values, Tensor& out);

enum class AttentionPass { forward, backward };
enum class AttentionKernel { automatic, plain, flash, wgmma, cudnn };

void allow_unrepeatable_attention(const Stream& stream);

/// For tests and benchmarks, from now on in the whole process: `kernel` computes what it supports, the plain kernel the
/// rest. `automatic`, the default, takes the fastest that supports a call.
void use_attention_kernel(AttentionKernel kernel);
/// False too for what this build or machine lacks.
[[nodiscard]] bool attention_kernel_supports(AttentionKernel kernel, const Stream& stream, const AttentionShape& shape,
                                             DType dtype);

}  // namespace trident::cuda
