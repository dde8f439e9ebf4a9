#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <type_traits>

#include "core/dtype.h"
#include "core/error.h"
#include "core/thread_pool.h"

namespace trident::cpu {

/// What a kernel computes in when its tensors hold T.
template <class T>
using Accumulator = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// Elements that one block of work handles: enough to hide the pool's overhead, few enough to stay in the L2 cache.
inline constexpr int64_t kBlockElements = int64_t{1} << 14;

/// Rows that make up one block of work.
[[nodiscard]] inline int64_t rows_per_block(int64_t columns) {
  return std::max<int64_t>(1, kBlockElements / std::max<int64_t>(1, columns));
}

[[nodiscard]] inline int64_t block_count(int64_t count, int64_t size) { return (count + size - 1) / size; }

/// Calls work(begin, end) for [0, count) cut into blocks of `size`. The cut must not depend on the pool, so that
/// results do not either.
template <class Work>
void for_blocks(ThreadPool& pool, int64_t count, int64_t size, const Work& work) {
  const auto block = [&](int64_t index) { work(index * size, std::min(count, (index + 1) * size)); };
  pool.parallel_for(block_count(count, size), std::cref(block));  // a reference: std::function need not allocate
}

/// Calls f with a value of the C++ type of `dtype`.
template <class F>
void with_float_type(DType dtype, const F& f) {
  switch (dtype) {
    case DType::fp64: return f(double{});
    case DType::fp32: return f(float{});
    case DType::bf16: return f(bfloat16{});
    case DType::int32: break;
  }
  TRIDENT_CHECK(false, "a floating-point kernel was given int32");
}

}  // namespace trident::cpu
