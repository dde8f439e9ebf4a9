#pragma once

#include "kernels/elementwise.h"

/// The CUDA kernels behind kernels/elementwise.h. They return before the work is done.
namespace trident::cuda {

void add(const Stream& stream, const Tensor& a, const Tensor& b, Tensor& out);
void cast(const Stream& stream, const Tensor& from, Tensor& to);

}  // namespace trident::cuda
