#pragma once

#include "core/device.h"
#include "core/tensor.h"

namespace trident {

// Matrix products. Activations and weights are of the compute dtype (fp64, fp32, bf16); products accumulate in fp64
// for fp64 and in fp32 otherwise. Gradients of parameters are of the accumulation dtype and added to; gradients of
// activations are overwritten. Leading dimensions of activations fold into rows.

/// y[rows, out] = x[rows, in] · w[out, in]ᵀ + bias[out]; `bias` may be undefined.
void linear_forward(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y);

/// dx[rows, in] = dy[rows, out] · w[out, in].
void linear_backward_input(const Stream& stream, const Tensor& dy, const Tensor& w, Tensor& dx);

/// dw[out, in] += dy[rows, out]ᵀ · x[rows, in]; dbias[out] += column sums of dy, unless undefined.
void linear_backward_weight(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dw, Tensor& dbias);

}  // namespace trident
