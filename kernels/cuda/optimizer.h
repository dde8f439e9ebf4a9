#pragma once

#include "kernels/optimizer.h"

/// The CUDA kernels behind kernels/optimizer.h. They return before the work is done.
namespace trident::cuda {

void adamw(const Stream& stream, const AdamWStep& step, std::span<const FlatRange> ranges, Tensor& master,
           const Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, Tensor& compute);
void add_sums_of_squares(const Stream& stream, const Tensor& x, std::span<const FlatRange> ranges, ExactSum& sum);

}  // namespace trident::cuda
