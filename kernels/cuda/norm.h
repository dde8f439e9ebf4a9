#pragma once

#include "kernels/norm.h"

/// The CUDA kernels behind kernels/norm.h. They return before the work is done.
namespace trident::cuda {

/// add_norm_forward where `delta` is defined.
void norm_forward(const Stream& stream, const NormWeights& weights, const Tensor& x, const Tensor& delta, Tensor& sum,
                  Tensor& y, Tensor& stats);
void norm_recompute(const Stream& stream, const NormWeights& weights, const Tensor& x, const Tensor& stats, Tensor& y);
void norm_backward(const Stream& stream, const NormWeights& weights, const Tensor& dy, const Tensor& x,
                   const Tensor& stats, const Tensor& dresidual, Tensor& dx, Tensor& partials);

}  // namespace trident::cuda
