#pragma once

#include "kernels/activation.h"

/// The CUDA kernels behind kernels/activation.h. They return before the work is done.
namespace trident::cuda {

void swiglu_forward(const Stream& stream, const Tensor& x, Tensor& y);
void swiglu_backward(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dx, Tensor& y);
void gelu_forward(const Stream& stream, const Tensor& x, Tensor& y);
void gelu_backward(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dx, Tensor& y);

}  // namespace trident::cuda
