#include <cmath>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/rope.h"
#include "kernels/cuda/rounded.cuh"

namespace trident::cuda {
namespace {

constexpr int kThreads = 256;

/// Of some pairs, in double, from the host: so that the angles are the CPU's to the last bit.
struct Frequencies {
  static constexpr int kMost = 256;
  double values[kMost];
};

/// A thread has one position and one of the pairs [first_pair, first_pair + pairs) of `half`.
template <class T>
__global__ void __launch_bounds__(kThreads)
    rope_table_kernel(const __grid_constant__ Frequencies frequencies, int first_pair, int pairs, int64_t half,
                      int64_t positions, T* table) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t position = index / pairs;
  if (position >= positions) return;
  const int pair = static_cast<int>(index - position * pairs);
  const double angle = static_cast<double>(position) * frequencies.values[pair];
  double sine, cosine;
  sincos(angle, &sine, &cosine);
  T* row = table + position * 2 * half + first_pair + pair;
  row[0] = narrow<T>(static_cast<Accumulator<T>>(cosine));
  row[half] = narrow<T>(static_cast<Accumulator<T>>(sine));
}

struct RotationLayout {
  uint32_t rows, sequence;
  int64_t columns;          ///< of qkv
  uint32_t groups;          ///< of pairs in one head
  uint32_t groups_per_row;  ///< in all heads that turn
};

/// A thread turns kSize pairs of one head. `table`: from the first position on. kSign −1 turns back.
template <int kSign, class T, int kSize>
__global__ void __launch_bounds__(kThreads)
    rope_kernel(RotationLayout layout, const Accumulator<T>* __restrict__ table, T* qkv) {
  using A = Accumulator<T>;
  using G = Group<T, kSize>;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kThreads;
  const int64_t first_row = begin / layout.groups_per_row;
  const uint32_t first_group = static_cast<uint32_t>(begin - first_row * layout.groups_per_row);
  const uint32_t rows_ahead = (first_group + threadIdx.x) / layout.groups_per_row;
  if (first_row + rows_ahead >= layout.rows) return;
  const uint32_t row = static_cast<uint32_t>(first_row) + rows_ahead, position = row % layout.sequence;
  const uint32_t group_in_row = first_group + threadIdx.x - rows_ahead * layout.groups_per_row;
  const uint32_t head = group_in_row / layout.groups, group = group_in_row - head * layout.groups;
  const int64_t half = static_cast<int64_t>(layout.groups) * kSize, at = static_cast<int64_t>(group) * kSize;
  const A* cosines = table + position * 2 * half + at;
  T* first = qkv + row * layout.columns + head * 2 * half + at;

  const auto cosine = *reinterpret_cast<const Group<A, kSize>*>(cosines);
  const auto sine = *reinterpret_cast<const Group<A, kSize>*>(cosines + half);
  G a = *reinterpret_cast<const G*>(first), b = *reinterpret_cast<const G*>(first + half);
#pragma unroll
  for (int k = 0; k < kSize; ++k) {
    const A x = widen(a.values[k]), y = widen(b.values[k]), c = cosine.values[k], s = kSign * sine.values[k];
    a.values[k] = narrow<T>(fused(-y, s, product(x, c)));
    b.values[k] = narrow<T>(fused(x, s, product(y, c)));
  }
  *reinterpret_cast<G*>(first) = a;
  *reinterpret_cast<G*>(first + half) = b;
}

template <class T, int kSize>
void launch_rope(const Stream& stream, const AttentionShape& shape, const Accumulator<T>* table,
                 RopeDirection direction, T* qkv) {
  const int64_t groups = shape.head_dim / 2 / kSize, per_row = groups * (shape.heads + shape.kv_heads);
  const int64_t rows = shape.batch * shape.sequence;
  TRIDENT_CHECK(rows <= INT32_MAX && per_row <= INT32_MAX);
  const RotationLayout layout{static_cast<uint32_t>(rows), static_cast<uint32_t>(shape.sequence), shape.qkv_columns(),
                              static_cast<uint32_t>(groups), static_cast<uint32_t>(per_row)};
  const auto blocks = static_cast<unsigned>(divide_up<int64_t>(rows * per_row, kThreads));
  if (blocks == 0) return;
  const auto kernel = direction == RopeDirection::forward ? rope_kernel<1, T, kSize> : rope_kernel<-1, T, kSize>;
  kernel<<<blocks, kThreads, 0, queue_of(stream)>>>(layout, table, qkv);
}

}  // namespace

void rope_table(const Stream& stream, double theta, Tensor& table) {
  const int64_t columns = table.columns(), half = columns / 2, positions = table.rows();
  with_float_type(table.dtype(), [&](auto zero) {
    using T = decltype(zero);
    for (int64_t first = 0; first < half; first += Frequencies::kMost) {
      const auto pairs = static_cast<int>(std::min<int64_t>(Frequencies::kMost, half - first));
      Frequencies frequencies{};
      for (int i = 0; i < pairs; ++i)
        frequencies.values[i] = std::pow(theta, -2.0 * static_cast<double>(first + i) / static_cast<double>(columns));
      const auto blocks = static_cast<unsigned>(divide_up<int64_t>(positions * pairs, kThreads));
      if (blocks == 0) return;
      rope_table_kernel<T><<<blocks, kThreads, 0, queue_of(stream)>>>(frequencies, static_cast<int>(first), pairs, half,
                                                                      positions, data_of<T>(table));
    }
  });
  check_launch("rope_table");
}

void rope(const Stream& stream, const AttentionShape& shape, const Tensor& table, int64_t first_position,
          RopeDirection direction, Tensor& qkv) {
  with_float_type(qkv.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const auto* first = data_of<Accumulator<T>>(table) + first_position * shape.head_dim;
    constexpr int kSize = Pack<T>::kSize;
    if (shape.head_dim / 2 % kSize == 0 && aligned({first, qkv.raw()}))
      launch_rope<T, kSize>(stream, shape, first, direction, data_of<T>(qkv));
    else
      launch_rope<T, 1>(stream, shape, first, direction, data_of<T>(qkv));
  });
  check_launch("rope");
}

}  // namespace trident::cuda
