#pragma once

#include "core/tensor.h"
#include "kernels/gemm_tuning.h"
#include "kernels/linear.h"

namespace trident {

// The products behind kernels/linear.h as GPUs compute them: whole. Dry runs record these keys, and kernels look up
// choices by them.

[[nodiscard]] inline GemmKey forward_product(const Tensor& x, const Tensor& w, bool bias, LinearPrecision precision) {
  return {GemmForm::nt, x.rows(), w.rows(),         x.columns(),
          x.dtype(),    bias,     DeviceKind::cuda, precision == LinearPrecision::fp8};
}

[[nodiscard]] inline GemmKey backward_input_product(const Tensor& dy, const Tensor& w, LinearPrecision precision) {
  return {GemmForm::nn, dy.rows(), w.columns(),      dy.columns(),
          dy.dtype(),   false,     DeviceKind::cuda, precision == LinearPrecision::fp8};
}

[[nodiscard]] inline GemmKey backward_weight_product(const Tensor& dy, const Tensor& x, LinearPrecision precision) {
  return {GemmForm::tn, dy.columns(), x.columns(),      dy.rows(),
          dy.dtype(),   false,        DeviceKind::cuda, precision == LinearPrecision::fp8};
}

}  // namespace trident
