#include "model/norm.h"

#include "kernels/elementwise.h"

namespace trident {

Norm::Norm(NormKind kind, double eps, ParameterGroup gain, ParameterGroup bias)
    : kind_(kind), eps_(eps), gain_(std::move(gain)), bias_(std::move(bias)) {}

Tensor Norm::allocate_stats(Context& context, const Tensor& x) const {
  return context.activations.allocate({x.rows(), 2}, accumulation_dtype(x.dtype()));
}

Tensor Norm::forward(Context& context, const Tensor& x, Saved& saved) const {
  Tensor y = context.activations.allocate(x.shape(), x.dtype());
  Tensor stats = allocate_stats(context, x);
  norm_forward(context.stream, weights(), x, y, stats);
  saved.tensors = {x, stats};
  return y;
}

Tensor Norm::forward_of_sum(Context& context, const Tensor& x, const Tensor& delta, Tensor& sum, Saved& saved) const {
  sum = context.activations.allocate(x.shape(), x.dtype());
  Tensor y = context.activations.allocate(x.shape(), x.dtype());
  Tensor stats = allocate_stats(context, x);
  add_norm_forward(context.stream, weights(), x, delta, sum, y, stats);
  saved.tensors = {sum, stats};
  return y;
}

Tensor Norm::recompute(Context& context, const Saved& saved) const {
  const Tensor& x = saved.tensors.at(0);
  Tensor y = context.activations.allocate(x.shape(), x.dtype());
  norm_recompute(context.stream, weights(), x, saved.tensors.at(1), y);
  return y;
}

Tensor Norm::backward_input(Context& context, const Tensor& dy, Saved& saved) const {
  return backward_input_with(context, dy, Tensor(), saved);
}

Tensor Norm::backward_input_with(Context& context, const Tensor& dy, const Tensor& dresidual, Saved& saved) const {
  Tensor dx = context.activations.allocate(dy.shape(), dy.dtype());
  Tensor partials =
      context.activations.allocate({kind_ == NormKind::layer ? 2 : 1, dy.columns()}, accumulation_dtype(dy.dtype()));
  norm_backward(context.stream, weights(), dy, saved.tensors.at(0), saved.tensors.at(1), dresidual, dx, partials);
  saved.tensors = {partials};
  return dx;
}

void Norm::backward_weight(Context& context, Saved& saved) const {
  const Tensor& partials = saved.tensors.at(0);
  const Shape row{partials.columns()};
  Tensor dgain = gain_.grad, dbias = bias_.grad;
  accumulate(context.stream, partials.flat_view(0, row), dgain);
  if (dbias.defined()) accumulate(context.stream, partials.flat_view(partials.columns(), row), dbias);
  saved.clear();
}

void Norm::collect(std::vector<ParameterGroup*>& groups) {
  groups.push_back(&gain_);
  if (!bias_.members.empty()) groups.push_back(&bias_);
}

}  // namespace trident
