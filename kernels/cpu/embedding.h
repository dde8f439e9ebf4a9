#pragma once

#include "core/tensor.h"
#include "core/thread_pool.h"
#include "kernels/embedding.h"

/// The CPU kernels behind kernels/embedding.h.
namespace trident::cpu {

void embedding_forward(ThreadPool& pool, const Tensor& tokens, const Tensor& table, const Tensor& positions,
                       int64_t first_position, Tensor& y, TableShard shard);
void embedding_backward(ThreadPool& pool, const Tensor& tokens, const Tensor& dy, Tensor& dtable, Tensor& dpositions,
                        TableShard shard);

}  // namespace trident::cpu
