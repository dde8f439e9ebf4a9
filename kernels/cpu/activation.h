#pragma once

#include "core/tensor.h"
#include "core/thread_pool.h"

/// The CPU kernels behind kernels/activation.h.
namespace trident::cpu {

void swiglu_forward(ThreadPool& pool, const Tensor& x, Tensor& y);
void swiglu_backward(ThreadPool& pool, const Tensor& dy, const Tensor& x, Tensor& dx, Tensor& y);
void gelu_forward(ThreadPool& pool, const Tensor& x, Tensor& y);
void gelu_backward(ThreadPool& pool, const Tensor& dy, const Tensor& x, Tensor& dx, Tensor& y);

}  // namespace trident::cpu
