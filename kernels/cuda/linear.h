#pragma once

#include "kernels/linear.h"

/// The CUDA kernels behind kernels/linear.h. They return before the work is done.
namespace trident::cuda {

void require_fp8(const Stream& stream);
void linear_forward(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y,
                    LinearPrecision precision);
void linear_backward_input(const Stream& stream, const Tensor& dy, const Tensor& w, Tensor& dx,
                           LinearPrecision precision);
void linear_backward_weight(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dw, Tensor& dbias,
                            LinearPrecision precision);

}  // namespace trident::cuda
