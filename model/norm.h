#pragma once

#include "core/layer.h"
#include "kernels/norm.h"

namespace trident {

/// RMSNorm or LayerNorm over the last dimension. Saved: x and its statistics, then the gains' gradient.
class Norm final : public Layer {
 public:
  Norm(NormKind kind, double eps, ParameterGroup gain, ParameterGroup bias);

  [[nodiscard]] Tensor forward(Context& context, const Tensor& x, Saved& saved) const override;
  /// norm(x + delta); `sum` receives x + delta.
  [[nodiscard]] Tensor forward_of_sum(Context& context, const Tensor& x, const Tensor& delta, Tensor& sum,
                                      Saved& saved) const;
  /// The forward result again.
  [[nodiscard]] Tensor recompute(Context& context, const Saved& saved) const;
  [[nodiscard]] Tensor backward_input(Context& context, const Tensor& dy, Saved& saved) const override;
  /// backward_input plus `dresidual`, the gradient that reaches x past the norm.
  [[nodiscard]] Tensor backward_input_with(Context& context, const Tensor& dy, const Tensor& dresidual,
                                           Saved& saved) const;
  void backward_weight(Context& context, Saved& saved) const override;
  void collect(std::vector<ParameterGroup*>& groups) override;

 private:
  [[nodiscard]] NormWeights weights() const { return {kind_, eps_, gain_.value, bias_.value}; }
  [[nodiscard]] Tensor allocate_stats(Context& context, const Tensor& x) const;

  NormKind kind_;
  double eps_;
  ParameterGroup gain_;
  ParameterGroup bias_;
};

}  // namespace trident
