#pragma once

#include "core/thread_pool.h"
#include "kernels/rope.h"

/// The CPU kernels behind kernels/rope.h.
namespace trident::cpu {

void rope_table(ThreadPool& pool, double theta, Tensor& table);
void rope(ThreadPool& pool, const AttentionShape& shape, const Tensor& table, int64_t first_position,
          RopeDirection direction, Tensor& qkv);

}  // namespace trident::cpu
