#pragma once

#include "model/linear.h"
#include "model/model_config.h"

namespace trident {

/// What a layer keeps from its forward pass for the backward pass.
enum class Recompute {
  none,       ///< everything
  selective,  ///< not the outputs of norms and activation functions, which are cheap to have again
  full,       ///< only the block's input; the whole forward pass runs again
};

/// The feed-forward sublayer: down(swiglu(gate(x) | up(x))) for Llama, down(gelu(up(x))) for GPT-2.
class Mlp final : public Layer {
 public:
  /// `up` is gate and up as one matrix for Llama.
  Mlp(Architecture architecture, Recompute recompute, Linear up, Linear down);

  [[nodiscard]] Tensor forward(Context& context, const Tensor& x, Saved& saved) const override;
  [[nodiscard]] Tensor backward_input(Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(Context& context, Saved& saved) const override;
  void collect(std::vector<ParameterGroup*>& groups) override;

  static Saved& up_saved(Saved& saved) { return saved.children.at(0); }

 private:
  Architecture architecture_;
  Recompute recompute_;
  Linear up_;
  Linear down_;
};

}  // namespace trident
