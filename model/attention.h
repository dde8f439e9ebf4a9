#pragma once

#include "kernels/attention.h"
#include "model/linear.h"
#include "model/model_config.h"

namespace trident {

/// Keys and values of the positions that a generation has seen, for one layer.
struct KeyValueCache {
  Tensor keys;    ///< [batch, capacity, kv_heads·head_dim]
  Tensor values;  ///< the same
};

/// Causal self-attention with grouped-query heads: query-key-value product, rotary embedding (Llama), attention,
/// output product. Input and output: [batch, sequence, hidden].
class Attention final : public Layer {
 public:
  /// `rope`: the table of kernels/rope.h, which must outlive the layer; undefined for learned positions.
  Attention(const ModelConfig& config, const Tensor* rope, Linear qkv, Linear output);

  [[nodiscard]] Tensor forward(Context& context, const Tensor& x, Saved& saved) const override;
  [[nodiscard]] Tensor backward_input(Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(Context& context, Saved& saved) const override;
  void collect(std::vector<ParameterGroup*>& groups) override;

  /// New positions first_position … of a generation; their keys and values join the cache.
  [[nodiscard]] Tensor forward_cached(Context& context, const Tensor& x, int64_t first_position,
                                      KeyValueCache& cache) const;

  /// The query-key-value product's Saved, whose input the block may drop and restore.
  static Saved& qkv_saved(Saved& saved) { return saved.children.at(0); }

 private:
  [[nodiscard]] AttentionShape shape_of(const Tensor& x) const;

  ModelConfig config_;
  const Tensor* rope_;
  Linear qkv_;
  Linear output_;
};

}  // namespace trident
