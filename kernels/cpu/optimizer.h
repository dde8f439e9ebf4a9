#pragma once

#include <span>

#include "core/thread_pool.h"
#include "kernels/optimizer.h"

/// The CPU kernels behind kernels/optimizer.h.
namespace trident::cpu {

void adamw(ThreadPool& pool, const AdamWStep& step, std::span<const FlatRange> ranges, Tensor& master,
           const Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, Tensor& compute);
void add_sum_of_squares(ThreadPool& pool, const Tensor& x, int64_t begin, int64_t end, ExactSum& sum);

}  // namespace trident::cpu
