#pragma once

#include "core/device.h"
#include "core/tensor.h"

namespace trident {

// y has F columns. In backward calls dx may be the same memory as x; `y`, where defined, is overwritten with the
// forward result again, for a caller that did not keep it.

/// y = silu(gate) · up, with x[rows, 2F] = gate | up. Shazeer, "GLU variants improve transformer" (2020), section 2.
void swiglu_forward(const Stream& stream, const Tensor& x, Tensor& y);
void swiglu_backward(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dx, Tensor& y);

/// y = gelu(x), the tanh form. Hendrycks and Gimpel, "Gaussian error linear units" (2016), section 2.
void gelu_forward(const Stream& stream, const Tensor& x, Tensor& y);
void gelu_backward(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dx, Tensor& y);

}  // namespace trident
