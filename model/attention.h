#pragma once

#include "kernels/attention.h"
#include "model/model_config.h"
#include "parallel/tensor/linear.h"

namespace trident {

/// Keys and values of the positions that a generation has seen, for one layer.
struct KeyValueCache {
  Tensor keys;    ///< [1, capacity, kv_heads·head_dim]
  Tensor values;  ///< the same
};

/// This rank's heads: whole query heads, each with its key-value head.
struct LocalHeads {
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
};

/// Causal self-attention with grouped-query heads, the heads cut over tp: query-key-value product, rotary embedding
/// (Llama), attention, output product. Input and output: this rank's rows [rows, hidden].
class Attention final : public Layer {
 public:
  /// `rope`: the table of kernels/rope.h, which must outlive the layer; undefined for learned positions.
  Attention(const LocalHeads& heads, const Tensor* rope, ColumnParallelLinear qkv, RowParallelLinear output);

  [[nodiscard]] Tensor forward(Context& context, const Tensor& x, Saved& saved) const override;
  [[nodiscard]] Tensor backward_input(Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(Context& context, Saved& saved) const override;
  [[nodiscard]] Tensor backward(Context& context, const Tensor& dy, Saved& saved) const override;
  void collect(std::vector<ParameterGroup*>& groups) override;

  /// New positions first_position … of a generation; their keys and values join the cache.
  [[nodiscard]] Tensor forward_cached(Context& context, const Tensor& x, int64_t first_position,
                                      KeyValueCache& cache) const;

  /// The query-key-value product's Saved, whose input the block may drop and restore.
  static Saved& qkv_saved(Saved& saved) { return saved.children.at(0); }

 private:
  [[nodiscard]] AttentionShape shape(int64_t batch, int64_t sequence) const;
  [[nodiscard]] AttentionShape shape_of(const Context& context) const;
  /// From the gradient of the attention's output to that of queries, keys and values; empties saved.tensors.
  [[nodiscard]] Tensor core_backward(Context& context, const Tensor& dout, Saved& saved) const;

  LocalHeads heads_;
  const Tensor* rope_;
  ColumnParallelLinear qkv_;
  RowParallelLinear output_;
};

}  // namespace trident
