#pragma once

#include "kernels/cross_entropy.h"

/// The CUDA kernels behind kernels/cross_entropy.h. They return before the work is done.
namespace trident::cuda {

void cross_entropy_statistics(const Stream& stream, const Tensor& logits, const Tensor& labels, int64_t first_column,
                              Tensor& statistics);
void cross_entropy_losses(const Stream& stream, const Tensor& statistics, const Tensor& labels, int64_t vocabulary,
                          Tensor& losses, Tensor& lse);
void cross_entropy_backward(const Stream& stream, const Tensor& labels, int64_t first_column, const Tensor& lse,
                            double weight, Tensor& logits);
void sum_losses(const Stream& stream, const Tensor& losses, Tensor& sum);

}  // namespace trident::cuda
