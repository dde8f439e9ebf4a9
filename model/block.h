#pragma once

#include "model/attention.h"
#include "model/mlp.h"
#include "model/norm.h"

namespace trident {

/// One pre-norm transformer layer: x + attention(norm(x)), then that + mlp(norm(that)). Input and output: this rank's
/// rows [rows, hidden].
class TransformerBlock final : public Layer {
 public:
  TransformerBlock(Recompute recompute, Norm attention_norm, Attention attention, Norm mlp_norm, Mlp mlp);

  [[nodiscard]] Tensor forward(Context& context, const Tensor& x, Saved& saved) const override;
  [[nodiscard]] Tensor backward_input(Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(Context& context, Saved& saved) const override;
  [[nodiscard]] Tensor backward(Context& context, const Tensor& dy, Saved& saved) const override;
  void collect(std::vector<ParameterGroup*>& groups) override;

  /// Generation: positions first_position … with the keys and values of those before.
  [[nodiscard]] Tensor forward_cached(Context& context, const Tensor& x, int64_t first_position,
                                      KeyValueCache& cache) const;

 private:
  [[nodiscard]] Tensor forward_all(Context& context, const Tensor& x, Saved& saved) const;
  /// Brings back what the forward pass did not keep.
  void restore(Context& context, Saved& saved) const;

  Recompute recompute_;
  Norm attention_norm_;
  Attention attention_;
  Norm mlp_norm_;
  Mlp mlp_;
};

}  // namespace trident
