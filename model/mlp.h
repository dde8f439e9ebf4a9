#pragma once

#include "model/model_config.h"
#include "parallel/tensor/linear.h"

namespace trident {

/// What a layer keeps from its forward pass for the backward pass.
enum class Recompute {
  none,       ///< everything
  selective,  ///< not the outputs of norms and activation functions, which are cheap to have again
  full,       ///< only the block's input; the whole forward pass runs again
};

/// The feed-forward sublayer, its inner width cut over tp: down(swiglu(gate(x) | up(x))) for Llama, down(gelu(up(x)))
/// for GPT-2.
class Mlp final : public Layer {
 public:
  /// `up` is gate and up as one matrix for Llama.
  Mlp(Architecture architecture, Recompute recompute, ColumnParallelLinear up, RowParallelLinear down);

  [[nodiscard]] Tensor forward(Context& context, const Tensor& x, Saved& saved) const override;
  [[nodiscard]] Tensor backward_input(Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(Context& context, Saved& saved) const override;
  [[nodiscard]] Tensor backward(Context& context, const Tensor& dy, Saved& saved) const override;
  void collect(std::vector<ParameterGroup*>& groups) override;

  static Saved& up_saved(Saved& saved) { return saved.children.at(0); }

 private:
  /// The gradient of the inner values; the down product's weight gradient is left to do.
  [[nodiscard]] Tensor backward_to_inner(Context& context, const Tensor& dy, Saved& saved) const;

  Architecture architecture_;
  Recompute recompute_;
  ColumnParallelLinear up_;
  RowParallelLinear down_;
};

}  // namespace trident
