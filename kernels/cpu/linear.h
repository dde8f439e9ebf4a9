#pragma once

#include "core/device.h"
#include "core/tensor.h"
#include "kernels/gemm_tuning.h"

namespace trident::cpu {

// kernels/linear.h on CPU streams.
void linear_forward(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y);
void linear_backward_input(const Stream& stream, const Tensor& dy, const Tensor& w, Tensor& dx);
void linear_backward_weight(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dw, Tensor& dbias);

// The block products that these would ask for, from shapes alone.
void record_linear_forward(GemmRecorder& recorder, const Tensor& x, const Tensor& w);
void record_linear_backward_input(GemmRecorder& recorder, const Tensor& dy, const Tensor& w);
void record_linear_backward_weight(GemmRecorder& recorder, const Tensor& dy, const Tensor& x);

}  // namespace trident::cpu
