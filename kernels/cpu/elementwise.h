#pragma once

#include "core/tensor.h"
#include "core/thread_pool.h"

/// The CPU kernels behind kernels/elementwise.h.
namespace trident::cpu {

void add(ThreadPool& pool, const Tensor& a, const Tensor& b, Tensor& out);
void cast(ThreadPool& pool, const Tensor& from, Tensor& to);

}  // namespace trident::cpu
