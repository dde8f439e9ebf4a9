#include "model/mlp.h"

#include "kernels/activation.h"

namespace trident {

Mlp::Mlp(Architecture architecture, Recompute recompute, ColumnParallelLinear up, RowParallelLinear down)
    : architecture_(architecture), recompute_(recompute), up_(std::move(up)), down_(std::move(down)) {}

Tensor Mlp::forward(Context& context, const Tensor& x, Saved& saved) const {
  const bool gated = architecture_ == Architecture::llama;
  saved.children.resize(2);
  const Tensor inner = up_.forward(context, x, saved.children[0]);
  Tensor active = context.activations.allocate(inner.shape().with(-1, inner.columns() / (gated ? 2 : 1)), x.dtype());
  if (gated)
    swiglu_forward(context.stream, inner, active);
  else
    gelu_forward(context.stream, inner, active);
  saved.tensors = {inner};
  Tensor y = down_.forward(context, active, saved.children[1]);
  if (recompute_ == Recompute::selective) RowParallelLinear::drop_input(saved.children[1]);
  return y;
}

Tensor Mlp::backward_to_inner(Context& context, const Tensor& dy, Saved& saved) const {
  const Tensor& inner = saved.tensors.at(0);
  Tensor dinner = context.activations.allocate(inner.shape(), inner.dtype());
  {
    const Tensor dactive = down_.backward_input(context, dy, saved.children.at(1));
    Tensor active;
    if (recompute_ == Recompute::selective) active = context.activations.allocate(dactive.shape(), dactive.dtype());
    if (architecture_ == Architecture::llama)
      swiglu_backward(context.stream, dactive, inner, dinner, active);
    else
      gelu_backward(context.stream, dactive, inner, dinner, active);
    if (active.defined()) RowParallelLinear::restore_input(saved.children.at(1), active);
  }
  saved.tensors.clear();
  return dinner;
}

Tensor Mlp::backward_input(Context& context, const Tensor& dy, Saved& saved) const {
  const Tensor dinner = backward_to_inner(context, dy, saved);
  return up_.backward_input(context, dinner, saved.children.at(0));
}

Tensor Mlp::backward(Context& context, const Tensor& dy, Saved& saved) const {
  const Tensor dinner = backward_to_inner(context, dy, saved);
  down_.backward_weight(context, saved.children.at(1));
  return up_.backward(context, dinner, saved.children.at(0));
}

void Mlp::backward_weight(Context& context, Saved& saved) const {
  down_.backward_weight(context, saved.children.at(1));
  up_.backward_weight(context, saved.children.at(0));
  saved.clear();
}

void Mlp::collect(std::vector<ParameterGroup*>& groups) {
  up_.collect(groups);
  down_.collect(groups);
}

}  // namespace trident
