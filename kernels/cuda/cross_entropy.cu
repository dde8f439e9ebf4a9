#include <limits>

#include "kernels/cuda/cross_entropy.h"
#include "kernels/cuda/fault.cuh"
#include "kernels/cuda/row_access.cuh"

// One block a row. A row of an odd number of columns starts anywhere: what lies before its first 16-byte boundary and
// after its last one goes element by element, the rest in packs.

namespace trident::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
/// Packs that a thread reads before it computes: what keeps memory busy.
constexpr int kBatch = 4;

template <class T>
struct RowParts {
  int head;   ///< elements before the first boundary
  int packs;  ///< from there
  int tail;   ///< elements left behind the packs
};

template <class T>
__device__ __forceinline__ RowParts<T> parts_of(const T* row, int columns) {
  const auto past_boundary = static_cast<int>(reinterpret_cast<uintptr_t>(row) % sizeof(Pack<T>) / sizeof(T));
  const int head = min((Pack<T>::kSize - past_boundary) % Pack<T>::kSize, columns);
  const int packs = (columns - head) / Pack<T>::kSize;
  return {head, packs, columns - head - packs * Pack<T>::kSize};
}

template <class A>
__device__ __forceinline__ A lowest() {
  return -std::numeric_limits<A>::infinity();
}

/// exp(x) to what the result's dtype T can tell.
template <class T>
__device__ __forceinline__ Accumulator<T> exponential(Accumulator<T> x) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    constexpr float kLog2E = 1.4426950408889634f;
    float result;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x * kLog2E));
    return result;
  } else {
    return exp(x);
  }
}

/// A softmax denominator, Σ exp(x − max), built in one pass (Milakov and Gimelshein, "Online normalizer calculation for
/// softmax", 2018). NaN never becomes the maximum, but always reaches the sum.
template <class T>
struct Denominator {
  using A = Accumulator<T>;
  A max = lowest<A>();
  A sum = 0;

  /// What to subtract: −∞ − (−∞) would be NaN.
  __device__ __forceinline__ A shift() const { return max == lowest<A>() ? A(0) : max; }

  __device__ __forceinline__ void raise(A to) {
    const A old = max;
    max = fmax(to, max);
    sum *= exponential<T>(old - shift());
  }
  __device__ __forceinline__ void add(A x) { sum += exponential<T>(x - shift()); }

  /// All `count` packs of the batch lie in the row, or those before `end` do.
  template <bool kWhole>
  __device__ __forceinline__ void add_packs(const T* packs, int first, int end) {
    constexpr int kSize = Pack<T>::kSize;
    PackBits batch[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int at = first + i * kThreads;
      batch[i] =
          kWhole || at < end ? load_bits(packs + int64_t{at} * kSize) : bits_of(filled_pack(narrow<T>(lowest<A>())));
    }
    A highest = lowest<A>();
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const Pack<T> pack = pack_of<T>(batch[i]);
#pragma unroll
      for (int k = 0; k < kSize; ++k) highest = fmax(widen(pack.values[k]), highest);
    }
    raise(highest);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      if (!kWhole && first + i * kThreads >= end) break;
      const Pack<T> pack = pack_of<T>(batch[i]);
#pragma unroll
      for (int k = 0; k < kSize; ++k) add(widen(pack.values[k]));
    }
  }

  __device__ __forceinline__ void add_element(A x) {
    raise(x);
    add(x);
  }

  __device__ __forceinline__ void merge_warp() {
    raise(warp_max(max));
    sum = warp_sum(sum);
  }
};

template <class T>
__global__ void __launch_bounds__(kThreads) statistics_kernel(const T* logits, const int32_t* labels, int columns,
                                                              int64_t first_column, Accumulator<T>* statistics) {
  const int64_t row = blockIdx.x;
  const T* x = logits + row * columns;
  const auto thread = static_cast<int>(threadIdx.x);
  const RowParts<T> parts = parts_of(x, columns);
  const T* packs = x + parts.head;
  const T* tail = packs + int64_t{parts.packs} * Pack<T>::kSize;

  Denominator<T> total;
  if (thread < parts.head) total.add_element(widen(x[thread]));
  if (thread < parts.tail) total.add_element(widen(tail[thread]));
  int at = thread;
  for (; at + (kBatch - 1) * kThreads < parts.packs; at += kBatch * kThreads)
    total.template add_packs<true>(packs, at, parts.packs);
  if (at < parts.packs) total.template add_packs<false>(packs, at, parts.packs);

  __shared__ Accumulator<T> max_of_warp[kWarps], sum_of_warp[kWarps];
  total.merge_warp();
  if (thread % kWarp == 0) {
    max_of_warp[thread / kWarp] = total.max;
    sum_of_warp[thread / kWarp] = total.sum;
  }
  __syncthreads();
  if (thread >= kWarp) return;
  total = {};
  if (thread < kWarps) {
    total.max = max_of_warp[thread];
    total.sum = sum_of_warp[thread];
  }
  total.merge_warp();
  if (thread > 0) return;
  const int64_t label = labels[row] - first_column;
  const bool here = labels[row] >= 0 && label >= 0 && label < columns;
  statistics[3 * row] = total.max;
  statistics[3 * row + 1] = total.sum;
  statistics[3 * row + 2] = here ? widen(x[label]) : Accumulator<T>(0);
}

template <class A>
__global__ void __launch_bounds__(kThreads)
    losses_kernel(const A* statistics, const int32_t* labels, int64_t rows, int64_t parts, int64_t vocabulary,
                  A* losses, A* lse, DeviceFault* fault) {
  const int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (row >= rows) return;
  const auto part = [&](int64_t index) { return statistics + 3 * (index * rows + row); };
  A max = lowest<A>(), sum = 0, target = 0;
  for (int64_t i = 0; i < parts; ++i) {
    const A of_part = part(i)[0];
    max = fmax(of_part, max);
  }
  const A shift = max == lowest<A>() ? A(0) : max;  // −∞ − (−∞) would be NaN
  for (int64_t i = 0; i < parts; ++i) {
    sum += part(i)[1] * exp(part(i)[0] - shift);
    target += part(i)[2];
  }
  const A log_sum = log(sum);
  lse[row] = max + log_sum;
  const int32_t label = labels[row];
  const bool known = label >= -1 && label < vocabulary;
  if (!known) report(fault, DeviceFault::label, row, label, -1, vocabulary);
  // max − logit first: of large logits, lse has already lost the digits that the loss needs.
  losses[row] = label >= 0 && known ? log_sum + (max - target) : A(0);
}

/// weight · (exp(x − lse) − onehot), the gradient of one row's logits.
template <class T>
struct LogitGradient {
  using A = Accumulator<T>;
  A lse, weight;
  int label;  ///< −1: not among these columns

  __device__ __forceinline__ A operator()(T x, int column) const {
    return weight * (exponential<T>(widen(x) - lse) - (column == label ? A(1) : A(0)));
  }
};

/// In place; a thread reads what it overwrites, and nothing else.
template <class T>
__device__ __forceinline__ void write_gradient(T* x, int columns, const LogitGradient<T>& gradient) {
  constexpr int kSize = Pack<T>::kSize;
  const auto thread = static_cast<int>(threadIdx.x);
  const RowParts<T> parts = parts_of(x, columns);
  T* packs = x + parts.head;
  const auto write_element = [&](int column) { x[column] = narrow<T>(gradient(x[column], column)); };
  if (thread < parts.head) write_element(thread);
  if (thread < parts.tail) write_element(parts.head + parts.packs * kSize + thread);
  for (int first = thread; first < parts.packs; first += kBatch * kThreads) {
    PackBits batch[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int at = first + i * kThreads;
      batch[i] = at < parts.packs ? load_bits(packs + int64_t{at} * kSize) : PackBits{};
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int at = first + i * kThreads;
      if (at >= parts.packs) break;
      const Pack<T> pack = pack_of<T>(batch[i]);
      Accumulator<T> values[kSize];
#pragma unroll
      for (int k = 0; k < kSize; ++k) values[k] = gradient(pack.values[k], parts.head + at * kSize + k);
      store_pack(packs + int64_t{at} * kSize, narrow_pack<T>(values));
    }
  }
}

template <class T>
__device__ __forceinline__ void write_zeros(T* x, int columns) {
  const auto thread = static_cast<int>(threadIdx.x);
  const RowParts<T> parts = parts_of(x, columns);
  const T zero = narrow<T>(0);
  T* packs = x + parts.head;
  T* tail = packs + int64_t{parts.packs} * Pack<T>::kSize;
  if (thread < parts.head) x[thread] = zero;
  if (thread < parts.tail) tail[thread] = zero;
  for (int at = thread; at < parts.packs; at += kThreads)
    store_pack(packs + int64_t{at} * Pack<T>::kSize, filled_pack(zero));
}

/// The last row first: the pass for the statistics has left the end of the logits in the L2 cache.
template <class T>
__global__ void __launch_bounds__(kThreads)
    backward_kernel(T* logits, const int32_t* labels, int64_t rows, int columns, int64_t first_column,
                    const Accumulator<T>* lse, Accumulator<T> weight) {
  const int64_t row = rows - 1 - static_cast<int64_t>(blockIdx.x);
  T* x = logits + row * columns;
  if (labels[row] < 0) return write_zeros(x, columns);
  const int64_t label = labels[row] - first_column;
  const bool here = label >= 0 && label < columns;
  write_gradient<T>(x, columns, {lse[row], weight, here ? static_cast<int>(label) : -1});
}

constexpr int kSumThreads = 1024;

template <class T>
__global__ void __launch_bounds__(kSumThreads) sum_kernel(const T* losses, int64_t count, double* sum) {
  __shared__ double shared[kSumThreads / kWarp];
  double own = 0.0;
#pragma unroll 8
  for (int64_t i = threadIdx.x; i < count; i += kSumThreads) own += static_cast<double>(widen(losses[i]));
  const double total = block_sum(own, shared);
  if (threadIdx.x == 0) *sum = total;
}

int columns_of(const Tensor& logits) {
  TRIDENT_CHECK(logits.columns() <= std::numeric_limits<int>::max() - 2 * kBatch * kThreads);
  return static_cast<int>(logits.columns());
}

}  // namespace

void cross_entropy_statistics(const Stream& stream, const Tensor& logits, const Tensor& labels, int64_t first_column,
                              Tensor& statistics) {
  if (logits.rows() == 0) return;
  with_float_type(logits.dtype(), [&](auto zero) {
    using T = decltype(zero);
    statistics_kernel<T><<<static_cast<unsigned>(logits.rows()), kThreads, 0, queue_of(stream)>>>(
        data_of<T>(logits), data_of<int32_t>(labels), columns_of(logits), first_column,
        data_of<Accumulator<T>>(statistics));
  });
  check_launch("cross_entropy_statistics");
}

void cross_entropy_losses(const Stream& stream, const Tensor& statistics, const Tensor& labels, int64_t vocabulary,
                          Tensor& losses, Tensor& lse) {
  const int64_t rows = labels.elements();
  const auto blocks = static_cast<unsigned>(divide_up<int64_t>(rows, kThreads));
  const auto launch = [&](auto zero) {
    using A = decltype(zero);
    losses_kernel<A><<<blocks, kThreads, 0, queue_of(stream)>>>(data_of<A>(statistics), data_of<int32_t>(labels), rows,
                                                                statistics.rows() / rows, vocabulary,
                                                                data_of<A>(losses), data_of<A>(lse), stream.fault());
  };
  statistics.dtype() == DType::fp64 ? launch(double{}) : launch(float{});
  check_launch("cross_entropy_losses");
}

void sum_losses(const Stream& stream, const Tensor& losses, Tensor& sum) {
  with_float_type(losses.dtype(), [&](auto zero) {
    using T = decltype(zero);
    sum_kernel<T><<<1, kSumThreads, 0, queue_of(stream)>>>(data_of<T>(losses), losses.elements(), data_of<double>(sum));
  });
  check_launch("sum_losses");
}

void cross_entropy_backward(const Stream& stream, const Tensor& labels, int64_t first_column, const Tensor& lse,
                            double weight, Tensor& logits) {
  if (logits.rows() == 0) return;
  with_float_type(logits.dtype(), [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    backward_kernel<T><<<static_cast<unsigned>(logits.rows()), kThreads, 0, queue_of(stream)>>>(
        data_of<T>(logits), data_of<int32_t>(labels), logits.rows(), columns_of(logits), first_column, data_of<A>(lse),
        static_cast<A>(weight));
  });
  check_launch("cross_entropy_backward");
}

}  // namespace trident::cuda
