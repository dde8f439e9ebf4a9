#include "kernels/cpu/rope.h"

#include <cmath>

#include "kernels/cpu/blocks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rope.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trident::cpu::HWY_NAMESPACE {

/// Turns the pairs (head[i], head[i + half]) by the angles of one position; kSign −1 turns back.
template <int kSign, class T>
HWY_INLINE void rotate_head(const Accumulator<T>* cosines, int64_t half, T* head) {
  const Tag<T> d;
  for_vectors(d, half, [&](int64_t i, auto n) HWY_ATTR {
    const auto cosine = load(d, cosines + i, n);
    auto sine = load(d, cosines + half + i, n);
    if constexpr (kSign < 0) sine = hn::Neg(sine);
    const auto a = load(d, head + i, n);
    const auto b = load(d, head + half + i, n);
    store(hn::NegMulAdd(b, sine, hn::Mul(a, cosine)), d, head + i, n);
    store(hn::MulAdd(a, sine, hn::Mul(b, cosine)), d, head + half + i, n);
  });
}

template <int kSign, class T>
void rotate(ThreadPool& pool, const AttentionShape& shape, const Accumulator<T>* table, T* qkv) {
  const int64_t columns = shape.qkv_columns();
  const int64_t rotated = (shape.heads + shape.kv_heads) * shape.head_dim;
  for_blocks(pool, shape.batch * shape.sequence, rows_per_block(columns), [&](int64_t begin, int64_t end) HWY_ATTR {
    for (int64_t row = begin; row < end; ++row) {
      const auto* cosines = table + row % shape.sequence * shape.head_dim;
      T* heads = qkv + row * columns;
      for (int64_t at = 0; at < rotated; at += shape.head_dim) {
        rotate_head<kSign>(cosines, shape.head_dim / 2, heads + at);
      }
    }
  });
}

void rope(ThreadPool& pool, const AttentionShape& shape, const Tensor& table, int64_t first_position,
          RopeDirection direction, Tensor& qkv) {
  with_float_type(qkv.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const auto* first = table.data<Accumulator<T>>() + first_position * shape.head_dim;
    const auto run = direction == RopeDirection::forward ? rotate<1, T> : rotate<-1, T>;
    run(pool, shape, first, qkv.data<T>());
  });
}

}  // namespace trident::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trident::cpu {

HWY_EXPORT(rope);

void rope(ThreadPool& pool, const AttentionShape& shape, const Tensor& table, int64_t first_position,
          RopeDirection direction, Tensor& qkv) {
  HWY_DYNAMIC_DISPATCH(rope)(pool, shape, table, first_position, direction, qkv);
}

void rope_table(ThreadPool& pool, double theta, Tensor& table) {
  const int64_t columns = table.columns(), half = columns / 2;
  with_float_type(table.dtype(), [&](auto zero) {
    using T = decltype(zero);
    T* data = table.data<T>();
    for_blocks(pool, table.rows(), 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = 0; i < half; ++i) {
        const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(columns));
        for (int64_t position = begin; position < end; ++position) {
          const double angle = static_cast<double>(position) * frequency;
          data[position * columns + i] = static_cast<T>(static_cast<Accumulator<T>>(std::cos(angle)));
          data[position * columns + half + i] = static_cast<T>(static_cast<Accumulator<T>>(std::sin(angle)));
        }
      }
    });
  });
}

}  // namespace trident::cpu
#endif  // HWY_ONCE
