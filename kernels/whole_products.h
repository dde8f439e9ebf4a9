#pragma once

#include "core/tensor.h"
#include "kernels/gemm_tuning.h"

namespace trident {

// The products behind kernels/linear.h as GPUs compute them: whole. Dry runs record these keys, and kernels look up
// choices by them.

[[nodiscard]] inline GemmKey forward_product(const Tensor& x, const Tensor& w, bool bias) {
  return {GemmForm::nt, x.rows(), w.rows(), x.columns(), x.dtype(), bias, DeviceKind::cuda};
}

[[nodiscard]] inline GemmKey backward_input_product(const Tensor& dy, const Tensor& w) {
  return {GemmForm::nn, dy.rows(), w.columns(), dy.columns(), dy.dtype(), false, DeviceKind::cuda};
}

[[nodiscard]] inline GemmKey backward_weight_product(const Tensor& dy, const Tensor& x) {
  return {GemmForm::tn, dy.columns(), x.columns(), dy.rows(), dy.dtype(), false, DeviceKind::cuda};
}

}  // namespace trident
