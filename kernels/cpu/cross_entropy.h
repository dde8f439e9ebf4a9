#pragma once

#include "core/tensor.h"
#include "core/thread_pool.h"

/// The CPU kernels behind kernels/cross_entropy.h.
namespace trident::cpu {

void cross_entropy_forward(ThreadPool& pool, const Tensor& logits, const Tensor& labels, Tensor& losses, Tensor& lse);
void cross_entropy_backward(ThreadPool& pool, const Tensor& labels, const Tensor& lse, double weight, Tensor& logits);

}  // namespace trident::cpu
