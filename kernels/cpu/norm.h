#pragma once

#include "core/thread_pool.h"
#include "kernels/norm.h"

/// The CPU kernels behind kernels/norm.h.
namespace trident::cpu {

/// `delta` and `sum` may be undefined: norm_forward.
void norm_forward(ThreadPool& pool, const NormWeights& weights, const Tensor& x, const Tensor& delta, Tensor& sum,
                  Tensor& y, Tensor& stats);
void norm_recompute(ThreadPool& pool, const NormWeights& weights, const Tensor& x, const Tensor& stats, Tensor& y);
void norm_backward(ThreadPool& pool, const NormWeights& weights, const Tensor& dy, const Tensor& x, const Tensor& stats,
                   const Tensor& dresidual, Tensor& dx, Tensor& partials);

}  // namespace trident::cpu
