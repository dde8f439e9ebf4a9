#include "model/linear.h"

#include "kernels/linear.h"

namespace trident {

Linear::Linear(ParameterGroup weight, ParameterGroup bias) : weight_(std::move(weight)), bias_(std::move(bias)) {}

Tensor Linear::forward(Context& context, const Tensor& x, Saved& saved) const {
  Tensor y = context.activations.allocate(x.shape().with(-1, weight_.value.dim(0)), x.dtype());
  linear_forward(context.stream, x, weight_.value, bias_.value, y);
  saved.tensors = {x};
  return y;
}

Tensor Linear::backward_input(Context& context, const Tensor& dy, Saved& saved) const {
  Tensor dx = context.activations.allocate(dy.shape().with(-1, weight_.value.dim(1)), dy.dtype());
  linear_backward_input(context.stream, dy, weight_.value, dx);
  saved.tensors.push_back(dy);
  return dx;
}

void Linear::backward_weight(Context& context, Saved& saved) const {
  Tensor dw = weight_.grad, dbias = bias_.grad;
  linear_backward_weight(context.stream, saved.tensors.at(1), saved.tensors.at(0), dw, dbias);
  saved.clear();
}

void Linear::collect(std::vector<ParameterGroup*>& groups) {
  groups.push_back(&weight_);
  if (!bias_.members.empty()) groups.push_back(&bias_);
}

}  // namespace trident
