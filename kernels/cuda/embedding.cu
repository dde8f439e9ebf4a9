#include <cub/device/device_radix_sort.cuh>

#include <bit>

#include "kernels/cuda/embedding.h"
#include "kernels/cuda/fault.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/state.h"

namespace trident::cuda {
namespace {

constexpr int kThreads = 256;

/// The tokens of a call and what their table holds of the vocabulary.
struct Lookup {
  const int32_t* tokens;
  int64_t rows, sequence;
  int64_t table_rows, first_token, vocabulary;
  DeviceFault* fault;
};

Lookup lookup_of(const Stream& stream, const Tensor& tokens, const Tensor& table, TableShard shard) {
  const int64_t vocabulary = shard.vocabulary > 0 ? shard.vocabulary : table.rows();
  return {data_of<int32_t>(tokens),
          tokens.elements(),
          tokens.columns(),
          table.rows(),
          shard.first,
          vocabulary,
          stream.fault()};
}

__device__ __forceinline__ bool known(const Lookup& lookup, int32_t token) {
  return token >= 0 && token < lookup.vocabulary;
}

/// A thread has one group of one row of y. `positions`: of the sequence's first token; may be null.
template <class T, int kSize>
__global__ void __launch_bounds__(kThreads)
    forward_kernel(Lookup lookup, const T* __restrict__ table, const T* __restrict__ positions, T* __restrict__ y,
                   uint32_t groups) {
  using G = Group<T, kSize>;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kThreads, first_row = begin / groups;
  const uint32_t ahead = static_cast<uint32_t>(begin - first_row * groups) + threadIdx.x;
  const int64_t row = first_row + ahead / groups;
  if (row >= lookup.rows) return;
  const uint32_t group = ahead % groups;
  const int32_t token = lookup.tokens[row];
  const int64_t entry_row = token - lookup.first_token;
  const bool valid = known(lookup, token), here = valid && entry_row >= 0 && entry_row < lookup.table_rows;
  if (!valid && group == 0) report(lookup.fault, DeviceFault::token, row, token, 0, lookup.vocabulary);
  G out;
#pragma unroll
  for (int k = 0; k < kSize; ++k) out.values[k] = T(0.0f);
  if (here) out = reinterpret_cast<const G*>(table)[entry_row * groups + group];
  if (positions != nullptr && valid) {
    const G position = reinterpret_cast<const G*>(positions)[row % lookup.sequence * groups + group];
#pragma unroll
    for (int k = 0; k < kSize; ++k)
      out.values[k] = here ? narrow<T>(widen(out.values[k]) + widen(position.values[k])) : position.values[k];
  }
  reinterpret_cast<G*>(y)[row * groups + group] = out;
}

/// Keys to sort by: the token's row in the table, or table_rows for tokens that have none there.
__global__ void __launch_bounds__(kThreads) keys_kernel(Lookup lookup, uint32_t* keys, uint32_t* rows) {
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (row >= lookup.rows) return;
  const int32_t token = lookup.tokens[row];
  const int64_t entry_row = token - lookup.first_token;
  const bool valid = known(lookup, token), here = valid && entry_row >= 0 && entry_row < lookup.table_rows;
  if (!valid) report(lookup.fault, DeviceFault::token, row, token, 0, lookup.vocabulary);
  keys[row] = static_cast<uint32_t>(here ? entry_row : lookup.table_rows);
  rows[row] = static_cast<uint32_t>(row);
}

/// The tokens in the order of their table rows, equal ones in their own order.
struct SortedTokens {
  const uint32_t* keys;
  const uint32_t* rows;
  int64_t count;
  uint32_t table_rows;
};

SortedTokens sort_tokens(const Stream& stream, const Lookup& lookup) {
  TRIDENT_CHECK(lookup.rows <= INT32_MAX && lookup.table_rows < INT32_MAX);
  const auto count = static_cast<int>(lookup.rows);
  const int bits = std::bit_width(static_cast<uint32_t>(lookup.table_rows) | 1u);
  const size_t array_bytes = divide_up<size_t>(static_cast<size_t>(count) * sizeof(uint32_t), 256) * 256;
  size_t work_bytes = 0;
  const auto sort = [&](void* work, uint32_t* arrays) {
    const size_t stride = array_bytes / sizeof(uint32_t);
    return cub::DeviceRadixSort::SortPairs(work, work_bytes, arrays, arrays + stride, arrays + 2 * stride,
                                           arrays + 3 * stride, count, 0, bits, queue_of(stream));
  };
  check(sort(nullptr, nullptr), "sorting tokens");
  auto* memory = static_cast<std::byte*>(state_of(stream).scratch(4 * array_bytes + work_bytes));
  auto* arrays = reinterpret_cast<uint32_t*>(memory);
  const size_t stride = array_bytes / sizeof(uint32_t);
  keys_kernel<<<static_cast<unsigned>(divide_up(count, kThreads)), kThreads, 0, queue_of(stream)>>>(
      lookup, arrays, arrays + 2 * stride);
  check(sort(memory + 4 * array_bytes, arrays), "sorting tokens");
  return {arrays + stride, arrays + 3 * stride, count, static_cast<uint32_t>(lookup.table_rows)};
}

constexpr int kColumnThreads = 128;
// Sorted tokens that a block looks at for the beginnings of runs.
constexpr int kPositions = 4;

/// What a thread reads of a row: one element, or two of bf16, which it unpacks only when it adds them, since apart they
/// would take two registers.
template <class T, int kSize>
using Packed = std::conditional_t<kSize == 1, T, uint32_t>;

template <class T>
__device__ __forceinline__ void add_to(Accumulator<T> (&sums)[1], T value) {
  sums[0] += widen(value);
}
template <class T>
__device__ __forceinline__ void add_to(float (&sums)[2], uint32_t pair) {
  sums[0] += __uint_as_float(pair << 16);
  sums[1] += __uint_as_float(pair & 0xffff0000u);
}

/// sums += the thread's columns of rows from, …, from + kRows − 1 of the `count` that the warp's lanes have, in this
/// order; all are read before the first is added. `dy`: the thread's columns of row 0.
template <int kRows, class T, int kSize>
__device__ __forceinline__ void add_rows(const Packed<T, kSize>* dy, int64_t groups, uint32_t lane_row, int from,
                                         int count, bool inside, Accumulator<T> (&sums)[kSize]) {
  Packed<T, kSize> values[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const uint32_t row = __shfl_sync(0xffffffffu, lane_row, from + r);
    values[r] = inside && from + r < count ? dy[row * groups] : Packed<T, kSize>(0.0f);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    if (from + r < count) add_to<T>(sums, values[r]);
  }
}

/// Runs of equal tokens that begin at the block's positions: each thread adds its columns of the run's rows of dy, in
/// order, to the run's row of the table. All lanes of a warp walk along, also those beyond the last column.
template <class T, int kSize>
__global__ void __launch_bounds__(kColumnThreads, sizeof(T) == 8 ? 5 : 8)
    add_runs_kernel(SortedTokens sorted, const T* __restrict__ dy, Accumulator<T>* table, int64_t groups) {
  using A = Accumulator<T>;
  using Sums = Group<A, kSize>;
  const int64_t group = static_cast<int64_t>(blockIdx.y) * kColumnThreads + threadIdx.x;
  const bool inside = group < groups;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto* column = reinterpret_cast<const Packed<T, kSize>*>(dy) + group;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kPositions;
  for (int64_t head = begin; head < begin + kPositions && head < sorted.count; ++head) {
    const uint32_t key = sorted.keys[head];
    if (key == sorted.table_rows) return;  // the last of them all: tokens that have no row here
    if (head > 0 && sorted.keys[head - 1] == key) continue;
    Sums* target = reinterpret_cast<Sums*>(table) + key * groups + group;
    Sums sum{};
    if (inside) sum = *target;
    int count = kWarp;
    for (int64_t at = head; count == kWarp; at += kWarp) {
      const bool same = at + lane < sorted.count && sorted.keys[at + lane] == key;
      const uint32_t row = same ? sorted.rows[at + lane] : 0;
      count = __popc(__ballot_sync(0xffffffffu, same));
      if (count == kWarp) {
        add_rows<kWarp, T, kSize>(column, groups, row, 0, kWarp, inside, sum.values);
      } else {
        for (int from = 0; from < count; from += 4)
          add_rows<4, T, kSize>(column, groups, row, from, count, inside, sum.values);
      }
    }
    if (inside) *target = sum;
  }
}

/// dpositions[t] += the rows t of all batches, in their order.
template <class T, int kSize>
__global__ void __launch_bounds__(kThreads)
    add_positions_kernel(const T* __restrict__ dy, Accumulator<T>* dpositions, int64_t batch, int64_t groups) {
  using A = Accumulator<T>;
  using Sums = Group<A, kSize>;
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= groups) return;
  Sums* target = reinterpret_cast<Sums*>(dpositions) + i;
  Sums sum = *target;
  const auto* source = reinterpret_cast<const Group<T, kSize>*>(dy) + i;
#pragma unroll 8
  for (int64_t b = 0; b < batch; ++b) {
    const Group<T, kSize> value = source[b * groups];
#pragma unroll
    for (int k = 0; k < kSize; ++k) sum.values[k] += widen(value.values[k]);
  }
  *target = sum;
}

/// Elements of dy per access in the backward pass: few, since rows of equal tokens have to be added one after another,
/// and the more columns run beside each other, the less this costs.
template <class T>
inline constexpr int kPair = std::is_same_v<T, __nv_bfloat16> ? 2 : 1;

}  // namespace

void embedding_forward(const Stream& stream, const Tensor& tokens, const Tensor& table, const Tensor& positions,
                       int64_t first_position, Tensor& y, TableShard shard) {
  if (y.elements() == 0) return;
  const Lookup lookup = lookup_of(stream, tokens, table, shard);
  with_float_type(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const int64_t columns = y.columns();
    const T* first = positions.defined() ? data_of<T>(positions) + first_position * columns : nullptr;
    const bool wide = columns % Pack<T>::kSize == 0 && aligned({table.raw(), first, y.raw()});
    with_group_size<Pack<T>::kSize>(wide, [&](auto size) {
      const int64_t groups = columns / size;
      forward_kernel<T, size>
          <<<static_cast<unsigned>(divide_up<int64_t>(lookup.rows * groups, kThreads)), kThreads, 0,
             queue_of(stream)>>>(lookup, data_of<T>(table), first, data_of<T>(y), static_cast<uint32_t>(groups));
    });
  });
  check_launch("embedding_forward");
}

void embedding_backward(const Stream& stream, const Tensor& tokens, const Tensor& dy, Tensor& dtable,
                        Tensor& dpositions, TableShard shard) {
  if (dy.elements() == 0) return;
  const Lookup lookup = lookup_of(stream, tokens, dtable, shard);
  const SortedTokens sorted = sort_tokens(stream, lookup);
  with_float_type(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const int64_t columns = dy.columns();
    const bool pairs = columns % kPair<T> == 0 && aligned({dy.raw()}, kPair<T> * sizeof(T)) &&
                       aligned({dtable.raw()}, kPair<T> * sizeof(A));
    with_group_size<kPair<T>>(pairs, [&](auto size) {
      const int64_t groups = columns / size;
      const dim3 grid(static_cast<unsigned>(divide_up<int64_t>(sorted.count, kPositions)),
                      static_cast<unsigned>(divide_up<int64_t>(groups, kColumnThreads)));
      add_runs_kernel<T, size>
          <<<grid, kColumnThreads, 0, queue_of(stream)>>>(sorted, data_of<T>(dy), data_of<A>(dtable), groups);
    });
    if (!dpositions.defined()) return;
    constexpr int kWide = 16 / sizeof(A);
    const int64_t elements = lookup.sequence * columns;
    const bool wide = elements % kWide == 0 && aligned({dpositions.raw(), dy.raw()});
    with_group_size<kWide>(wide, [&](auto size) {
      const int64_t groups = elements / size;
      add_positions_kernel<T, size>
          <<<static_cast<unsigned>(divide_up<int64_t>(groups, kThreads)), kThreads, 0, queue_of(stream)>>>(
              data_of<T>(dy), data_of<A>(dpositions), lookup.rows / lookup.sequence, groups);
    });
  });
  check_launch("embedding_backward");
}

}  // namespace trident::cuda
