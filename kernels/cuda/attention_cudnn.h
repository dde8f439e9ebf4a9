#pragma once

#include "kernels/cuda/attention.h"

/// cuDNN's fused attention, on tensors that are 16-byte aligned. cuDNN is loaded when it is first asked for; without it
/// nothing is supported.
namespace trident::cuda {

/// Builds cuDNN's plans for the shape on the first call, which takes a moment.
[[nodiscard]] bool cudnn_attention_supports(const Stream& stream, const AttentionShape& shape, DType dtype,
                                            AttentionPass pass);
void cudnn_attention_forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out,
                             Tensor& lse);
void cudnn_attention_backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
                              const Tensor& lse, const Tensor& dout, Tensor& dqkv);

}  // namespace trident::cuda
