#pragma once

#include "kernels/attention.h"

/// Flash attention on tensor cores: bf16 operands, fp32 sums. The meaning is that of kernels/attention.h.
/// Dao, "FlashAttention-2" (2023). Tensors begin at multiples of 16 bytes.
namespace trident::cuda {

/// True where the kernels below can serve the call: bf16, heads of 64 or 128 dimensions.
[[nodiscard]] bool flash_attention_supports(const AttentionShape& shape, DType dtype);

void flash_attention_forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out,
                             Tensor& lse);

/// The same with Hopper's warpgroup instructions; it may round differently.
void flash_attention_forward_wgmma(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out,
                                   Tensor& lse);

/// Keys and queries have their gradients from two kernels that each recompute the scores: seven products instead of
/// five, but no two blocks add to the same sum, so every run returns the same bits.
void flash_attention_backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
                              const Tensor& lse, const Tensor& dout, Tensor& dqkv);

/// The same with Hopper's warpgroup instructions; it may round differently.
void flash_attention_backward_wgmma(const Stream& stream, const AttentionShape& shape, const Tensor& qkv,
                                    const Tensor& out, const Tensor& lse, const Tensor& dout, Tensor& dqkv);

}  // namespace trident::cuda
