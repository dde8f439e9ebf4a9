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
                       int64_t first_position, Tensor& y, TableShard shard) {
  with_float_type(y.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const Tag<T> d;
    const int64_t columns = y.columns(), sequence = tokens.columns(), table_rows = table.rows();
    const auto* token_data = tokens.data<int32_t>();
    const T* table_data = table.data<T>();
    const T* first = positions.defined() ? positions.data<T>() + first_position * columns : nullptr;
    T* y_data = y.data<T>();
    for_blocks(pool, tokens.elements(), rows_per_block(columns), [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t entry_row = token_data[row] - shard.first;
        const bool here = entry_row >= 0 && entry_row < table_rows;
        const T* entry = here ? table_data + entry_row * columns : nullptr;
        const T* position = first == nullptr ? nullptr : first + row % sequence * columns;
        T* out = y_data + row * columns;
        if (entry == nullptr && position == nullptr) {
          std::fill_n(out, columns, T(0));
          continue;
        }
        if (entry == nullptr || position == nullptr) {
          std::memcpy(out, entry != nullptr ? entry : position, static_cast<size_t>(columns) * sizeof(T));
          continue;
        }
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
void embedding_backward(ThreadPool& pool, const Tensor& tokens, const Tensor& dy, Tensor& dtable, Tensor& dpositions,
                        TableShard shard) {
  constexpr int64_t kBlockColumns = 128;
  with_float_type(dy.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const int64_t columns = dy.columns(), sequence = tokens.columns(), table_rows = dtable.rows();
    const auto* token_data = tokens.data<int32_t>();
    const T* dy_data = dy.data<T>();
    A* table = dtable.data<A>();
    A* positions = dpositions.defined() ? dpositions.data<A>() : nullptr;
    for_blocks(pool, columns, kBlockColumns, [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t row = 0; row < tokens.elements(); ++row) {
        const T* x = dy_data + row * columns + begin;
        const int64_t entry = token_data[row] - shard.first;
        if (entry >= 0 && entry < table_rows) accumulate_row(x, table + entry * columns + begin, end - begin);
        if (positions != nullptr) accumulate_row(x, positions + row % sequence * columns + begin, end - begin);
      }
    });
  });
}

}  // namespace trident::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trident::cpu {

namespace {

int64_t whole_vocabulary(TableShard shard, const Tensor& table) {
  return shard.vocabulary > 0 ? shard.vocabulary : table.rows();
}

}  // namespace

HWY_EXPORT(embedding_forward);
HWY_EXPORT(embedding_backward);

void embedding_forward(ThreadPool& pool, const Tensor& tokens, const Tensor& table, const Tensor& positions,
                       int64_t first_position, Tensor& y, TableShard shard) {
  check_indices("kernels/embedding", "token", tokens, 0, whole_vocabulary(shard, table));
  HWY_DYNAMIC_DISPATCH(embedding_forward)(pool, tokens, table, positions, first_position, y, shard);
}

void embedding_backward(ThreadPool& pool, const Tensor& tokens, const Tensor& dy, Tensor& dtable, Tensor& dpositions,
                        TableShard shard) {
  check_indices("kernels/embedding", "token", tokens, 0, whole_vocabulary(shard, dtable));
  HWY_DYNAMIC_DISPATCH(embedding_backward)(pool, tokens, dy, dtable, dpositions, shard);
}

}  // namespace trident::cpu
#endif  // HWY_ONCE
