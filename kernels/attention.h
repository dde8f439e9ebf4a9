#pragma once

#include "core/device.h"
#include "core/tensor.h"

namespace trident {

/// Sizes of one attention call. Query head h reads key-value head h / (heads / kv_heads).
struct AttentionShape {
  int64_t batch = 0;
  int64_t sequence = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;

  [[nodiscard]] int64_t qkv_columns() const { return (heads + 2 * kv_heads) * head_dim; }
};

// Causal softmax attention with scale 1/√head_dim, in tiles, with the online softmax: no matrix of all scores exists.
// Dao, "FlashAttention-2" (2023), algorithms 1 and 2.
// qkv: [batch, sequence, (heads + 2·kv_heads)·head_dim], each row query heads | key heads | value heads.

/// out: [batch, sequence, heads·head_dim]. lse: [batch, heads, sequence], accumulation dtype: log-sum-exp of each
/// query's scaled scores, which the backward pass needs.
void attention_forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out, Tensor& lse);

/// dqkv is overwritten.
void attention_backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
                        const Tensor& lse, const Tensor& dout, Tensor& dqkv);

/// From now on backward passes on the stream may add in an order that differs from run to run, where that is faster: on
/// GPUs with cuDNN.
void allow_unrepeatable_attention(const Stream& stream);

/// Generation: `shape.sequence` new positions (rows of qkv, queries only are read) attend to keys and values
/// [batch, capacity, kv_heads·head_dim] of positions 0 … first_position + i. out as in attention_forward.
void attention_cached(const Stream& stream, const AttentionShape& shape, int64_t first_position, const Tensor& qkv,
                      const Tensor& keys, const Tensor& values, Tensor& out);

}  // namespace trident
