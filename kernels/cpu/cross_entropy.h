#pragma once

#include "core/tensor.h"
#include "core/thread_pool.h"

/// The CPU kernels behind kernels/cross_entropy.h.
namespace trident::cpu {

void cross_entropy_statistics(ThreadPool& pool, const Tensor& logits, const Tensor& labels, int64_t first_column,
                              Tensor& statistics);
void cross_entropy_losses(const Tensor& statistics, const Tensor& labels, int64_t vocabulary, Tensor& losses,
                          Tensor& lse);
void sum_losses(const Tensor& losses, Tensor& sum);
void cross_entropy_backward(ThreadPool& pool, const Tensor& labels, int64_t first_column, const Tensor& lse,
                            double weight, Tensor& logits);

}  // namespace trident::cpu
