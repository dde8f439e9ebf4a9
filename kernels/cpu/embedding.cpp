#include "kernels/cpu/embedding.h"

#include <cstring>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/index_check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/embedding.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trident::cpu::HWY_NAMESPACE {

void embedding_forward(ThreadPool& pool, const Tensor& tokens, const Tensor& table, const Tensor& positions,
                       int64_t first_position, Tensor& y) {
  with_float_type(y.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const Tag<T> d;
    const int64_t columns = y.columns(), sequence = tokens.columns();
    const auto* token_data = tokens.data<int32_t>();
    const T* table_data = table.data<T>();
    const T* first = positions.defined() ? positions.data<T>() + first_position * columns : nullptr;
    T* y_data = y.data<T>();
    for_blocks(pool, tokens.elements(), rows_per_block(columns), [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t row = begin; row < end; ++row) {
        const T* entry = table_data + token_data[row] * columns;
        T* out = y_data + row * columns;
        if (first == nullptr) {
          std::memcpy(out, entry, static_cast<size_t>(columns) * sizeof(T));
          continue;
        }
        const T* position = first + row % sequence * columns;
        for_vectors(d, columns, [&](int64_t i, auto n) HWY_ATTR {
          store(hn::Add(load(d, entry + i, n), load(d, position + i, n)), d, out + i, n);
        });
      }
    });
  });
}

/// sum[0, columns) += x[0, columns).
template <class T>
HWY_INLINE void accumulate_row(const T* x, Accumulator<T>* sum, int64_t columns) {
  const Tag<T> d;
  for_vectors(d, columns, [&](int64_t i, auto n) HWY_ATTR {
    store(hn::Add(load(d, sum + i, n), load(d, x + i, n)), d, sum + i, n);
  });
}

/// Each block owns some columns of the whole table and walks all tokens in order: repeated tokens need no atomics and
/// add up in the same order whatever the threads.
void embedding_backward(ThreadPool& pool, const Tensor& tokens, const Tensor& dy, Tensor& dtable, Tensor& dpositions) {
  constexpr int64_t kBlockColumns = 128;
  with_float_type(dy.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const int64_t columns = dy.columns(), sequence = tokens.columns();
    const auto* token_data = tokens.data<int32_t>();
    const T* dy_data = dy.data<T>();
    A* table = dtable.data<A>();
    A* positions = dpositions.defined() ? dpositions.data<A>() : nullptr;
    for_blocks(pool, columns, kBlockColumns, [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t row = 0; row < tokens.elements(); ++row) {
        const T* x = dy_data + row * columns + begin;
        accumulate_row(x, table + token_data[row] * columns + begin, end - begin);
        if (positions != nullptr) accumulate_row(x, positions + row % sequence * columns + begin, end - begin);
      }
    });
  });
}

}  // namespace trident::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trident::cpu {

HWY_EXPORT(embedding_forward);
HWY_EXPORT(embedding_backward);

void embedding_forward(ThreadPool& pool, const Tensor& tokens, const Tensor& table, const Tensor& positions,
                       int64_t first_position, Tensor& y) {
  check_indices("kernels/embedding", "token", tokens, 0, table.rows());
  HWY_DYNAMIC_DISPATCH(embedding_forward)(pool, tokens, table, positions, first_position, y);
}

void embedding_backward(ThreadPool& pool, const Tensor& tokens, const Tensor& dy, Tensor& dtable, Tensor& dpositions) {
  check_indices("kernels/embedding", "token", tokens, 0, dtable.rows());
  HWY_DYNAMIC_DISPATCH(embedding_backward)(pool, tokens, dy, dtable, dpositions);
}

}  // namespace trident::cpu
#endif  // HWY_ONCE
