#pragma once

#include "core/layer.h"
#include "kernels/linear.h"
#include "parallel/tensor/tensor_parallel.h"

namespace trident {

/// y = x · wᵀ + bias with the outputs cut over tp: this rank has some rows of w and gives those columns of y. The
/// weight may be several logical tensors stored as one matrix, such as query, key and value. Input: this rank's rows.
/// Output: all rows. Forward gathers the rows; backward sums the input's gradient. Saved: x, then dy.
class ColumnParallelLinear final : public Layer {
 public:
  /// `bias` empty: none. Members of both groups come in the same order, as local shards. `tp` outlives the layer.
  /// In fp8 rows that are no multiple of kFp8Multiple, as those of a generation, are multiplied as they are.
  ColumnParallelLinear(ParameterGroup weight, ParameterGroup bias, const TensorParallel& tp,
                       LinearPrecision precision = LinearPrecision::compute);

  [[nodiscard]] Tensor forward(Context& context, const Tensor& x, Saved& saved) const override;
  [[nodiscard]] Tensor backward_input(Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(Context& context, Saved& saved) const override;
  /// The sum of the input's gradient runs while the weight's gradient is computed.
  [[nodiscard]] Tensor backward(Context& context, const Tensor& dy, Saved& saved) const override;
  void collect(std::vector<ParameterGroup*>& groups) override;

  /// For a caller that recomputes the input rather than keep it between the passes.
  static void drop_input(Saved& saved) { saved.tensors.at(0).reset(); }
  static void restore_input(Saved& saved, Tensor x) { saved.tensors.at(0) = std::move(x); }

 private:
  [[nodiscard]] Tensor input_gradient(Context& context, const Tensor& dy) const;

  ParameterGroup weight_;
  ParameterGroup bias_;
  const TensorParallel* tp_;
  LinearPrecision precision_;
};

/// y = x · wᵀ + bias with the inputs cut over tp: this rank has some columns of w and takes those columns of x.
/// Input: all rows. Output: this rank's rows. Forward sums over the ranks; backward gathers dy's rows.
/// The bias is whole on every rank. Saved: x, then dy.
class RowParallelLinear final : public Layer {
 public:
  RowParallelLinear(ParameterGroup weight, ParameterGroup bias, const TensorParallel& tp,
                    LinearPrecision precision = LinearPrecision::compute);

  [[nodiscard]] Tensor forward(Context& context, const Tensor& x, Saved& saved) const override;
  [[nodiscard]] Tensor backward_input(Context& context, const Tensor& dy, Saved& saved) const override;
  void backward_weight(Context& context, Saved& saved) const override;
  void collect(std::vector<ParameterGroup*>& groups) override;

  static void drop_input(Saved& saved) { saved.tensors.at(0).reset(); }
  static void restore_input(Saved& saved, Tensor x) { saved.tensors.at(0) = std::move(x); }

 private:
  ParameterGroup weight_;
  ParameterGroup bias_;
  const TensorParallel* tp_;
  LinearPrecision precision_;
};

}  // namespace trident
