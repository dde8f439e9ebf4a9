#pragma once

#include "core/layer.h"

namespace trident {

/// y = x · wᵀ + bias. The weight may be several logical tensors stored as one matrix, such as query, key and value.
/// Saved: x, then dy.
class Linear final : public Layer {
 public:
  /// `bias` empty: none. Members of both groups come in the same order.
  Linear(ParameterGroup weight, ParameterGroup bias);

  [[nodiscard]] Tensor forward(Context& context, const Tensor& x, Saved& saved) const override;
  [[nodiscard]] Tensor backward_input(Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(Context& context, Saved& saved) const override;
  void collect(std::vector<ParameterGroup*>& groups) override;

  /// For a caller that recomputes the input rather than keep it between the passes.
  static void drop_input(Saved& saved) { saved.tensors.at(0).reset(); }
  static void restore_input(Saved& saved, Tensor x) { saved.tensors.at(0) = std::move(x); }

 private:
  ParameterGroup weight_;
  ParameterGroup bias_;
};

}  // namespace trident
