#include "parallel/tensor/linear.h"

namespace trident {
namespace {

void collect_groups(ParameterGroup& weight, ParameterGroup& bias, std::vector<ParameterGroup*>& groups) {
  groups.push_back(&weight);
  if (!bias.members.empty()) groups.push_back(&bias);
}

void weight_gradient(Context& context, const ParameterGroup& weight, const ParameterGroup& bias, const Tensor& x,
                     const Tensor& dy, LinearPrecision precision) {
  Tensor dw = weight.grad, dbias = bias.grad;
  linear_backward_weight(context.stream, dy, x, dw, dbias, precision);
}

// A training's microbatches have multiples of 16 rows; the tokens that a generation is given one by one do not.
LinearPrecision precision_for(const Tensor& rows, LinearPrecision wished) {
  return rows.rows() % kFp8Multiple == 0 ? wished : LinearPrecision::compute;
}

}  // namespace

ColumnParallelLinear::ColumnParallelLinear(ParameterGroup weight, ParameterGroup bias, const TensorParallel& tp,
                                           LinearPrecision precision)
    : weight_(std::move(weight)), bias_(std::move(bias)), tp_(&tp), precision_(precision) {}

Tensor ColumnParallelLinear::forward(Context& context, const Tensor& x, Saved& saved) const {
  const Tensor rows = tp_->gather_rows(context, x);
  Tensor y = context.activations.allocate(rows.shape().with(-1, weight_.value.dim(0)), x.dtype());
  linear_forward(context.stream, rows, weight_.value, bias_.value, y, precision_for(rows, precision_));
  saved.tensors = {x};
  return y;
}

Tensor ColumnParallelLinear::input_gradient(Context& context, const Tensor& dy) const {
  Tensor dx = context.activations.allocate(dy.shape().with(-1, weight_.value.dim(1)), dy.dtype());
  linear_backward_input(context.stream, dy, weight_.value, dx, precision_);
  return dx;
}

Tensor ColumnParallelLinear::backward_input(Context& context, const Tensor& dy, Saved& saved) const {
  Tensor dx = tp_->reduce_rows(context, input_gradient(context, dy));
  saved.tensors.push_back(dy);
  return dx;
}

void ColumnParallelLinear::backward_weight(Context& context, Saved& saved) const {
  weight_gradient(context, weight_, bias_, tp_->gather_rows(context, saved.tensors.at(0)), saved.tensors.at(1),
                  precision_);
  saved.clear();
}

Tensor ColumnParallelLinear::backward(Context& context, const Tensor& dy, Saved& saved) const {
  TensorParallel::Started rows = tp_->start_gather_rows(context, saved.tensors.at(0));
  TensorParallel::Started dx = tp_->start_reduce_rows(context, input_gradient(context, dy));
  rows.pending.wait();
  weight_gradient(context, weight_, bias_, rows.out, dy, precision_);
  saved.clear();
  dx.pending.wait();
  return dx.out;
}

void ColumnParallelLinear::collect(std::vector<ParameterGroup*>& groups) { collect_groups(weight_, bias_, groups); }

RowParallelLinear::RowParallelLinear(ParameterGroup weight, ParameterGroup bias, const TensorParallel& tp,
                                     LinearPrecision precision)
    : weight_(std::move(weight)), bias_(std::move(bias)), tp_(&tp), precision_(precision) {}

Tensor RowParallelLinear::forward(Context& context, const Tensor& x, Saved& saved) const {
  Tensor partial = context.activations.allocate(x.shape().with(-1, weight_.value.dim(0)), x.dtype());
  // The bias takes part in the sum once.
  linear_forward(context.stream, x, weight_.value, tp_->comm.rank() == 0 ? bias_.value : Tensor(), partial,
                 precision_for(x, precision_));
  saved.tensors = {x};
  return tp_->reduce_rows(context, partial);
}

Tensor RowParallelLinear::backward_input(Context& context, const Tensor& dy, Saved& saved) const {
  const Tensor rows = tp_->gather_rows(context, dy);
  Tensor dx = context.activations.allocate(rows.shape().with(-1, weight_.value.dim(1)), dy.dtype());
  linear_backward_input(context.stream, rows, weight_.value, dx, precision_);
  saved.tensors.push_back(rows);
  return dx;
}

void RowParallelLinear::backward_weight(Context& context, Saved& saved) const {
  weight_gradient(context, weight_, bias_, saved.tensors.at(0), saved.tensors.at(1), precision_);
  saved.clear();
}

void RowParallelLinear::collect(std::vector<ParameterGroup*>& groups) { collect_groups(weight_, bias_, groups); }

}  // namespace trident
