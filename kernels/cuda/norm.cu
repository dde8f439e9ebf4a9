#include "kernels/cuda/norm.h"
#include "kernels/cuda/row_access.cuh"
#include "kernels/cuda/state.h"

// Rows of whole, aligned packs stay in registers from their statistics to their output, so that memory is read once.
// All others take the `any` kernels, which read them again, element by element.

namespace trident::cuda {
namespace {

constexpr int kMaxWarps = 32;
constexpr int kThreads = 256;  ///< of a block of the `any` kernels

enum class Pass {
  norm,
  add_norm,   ///< of x + delta, which is an output too
  recompute,  ///< statistics are an input
};

template <class T>
struct Forward {
  const T* x;
  const T* delta;
  T* sum;
  T* y;
  const T* gain;
  const T* bias;
  Accumulator<T>* stats;
  int64_t rows;
  int columns;
  Accumulator<T> eps;
};

template <class A>
struct RowStats {
  A mean, inverse;
};

/// Forward and recompute give the same bits because all kernels end here; no contraction is left to the compiler.
template <NormKind kKind, class A>
__device__ __forceinline__ A normalized(A x, RowStats<A> stats, A gain, A bias) {
  if constexpr (kKind == NormKind::layer)
    return fma((x - stats.mean) * stats.inverse, gain, bias);
  else
    return x * stats.inverse * gain;
}

template <class A>
__device__ __forceinline__ A inverse_deviation(A sum_of_squares, int columns, A eps) {
  return A(1) / sqrt(sum_of_squares / static_cast<A>(columns) + eps);
}

/// The statistics of a row of which this thread knows a part. `moment(center)` is its part of Σ (x − center)²; the
/// layer norm's second pass spares it the cancellation of E[x²] − mean². `total(part, n)` is the n-th sum over the row.
template <NormKind kKind, class A, class Sum, class Moment, class Total>
__device__ __forceinline__ RowStats<A> stats_of(int columns, A eps, const Sum& sum, const Moment& moment,
                                                const Total& total) {
  A mean = 0;
  if constexpr (kKind == NormKind::layer) mean = total(sum(), 0) / static_cast<A>(columns);
  return {mean, inverse_deviation(total(moment(mean), 1), columns, eps)};
}

constexpr int kWarpRowThreads = 128;

/// A row belongs to a warp, or else to a block; up to kPacks packs of it to each of their threads.
template <class T, NormKind kKind, Pass kPass, int kPacks, bool kWarpRows>
__global__ void __launch_bounds__(kWarpRows ? kWarpRowThreads : 1024) forward_kernel(Forward<T> f) {
  using A = Accumulator<T>;
  constexpr int kSize = Pack<T>::kSize;
  const auto block_thread = static_cast<int>(threadIdx.x);
  const int threads = kWarpRows ? kWarp : static_cast<int>(blockDim.x);
  const int thread = kWarpRows ? block_thread % kWarp : block_thread;
  const int64_t row = kWarpRows ? int64_t{blockIdx.x} * (kWarpRowThreads / kWarp) + block_thread / kWarp : blockIdx.x;
  if (row >= f.rows) return;
  const int64_t begin = row * f.columns;
  const int packs = f.columns / kSize;

  PackBits x[kPacks];
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    const int at = thread + i * threads;
    x[i] = at < packs ? load_bits(f.x + begin + at * kSize) : PackBits{};
  }
  if constexpr (kPass == Pass::add_norm) {
    PackBits delta[kPacks];
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      const int at = thread + i * threads;
      delta[i] = at < packs ? load_bits(f.delta + begin + at * kSize) : PackBits{};
    }
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      const int at = thread + i * threads;
      const Pack<T> a = pack_of<T>(x[i]), b = pack_of<T>(delta[i]);
      A sums[kSize];
#pragma unroll
      for (int k = 0; k < kSize; ++k) sums[k] = widen(a.values[k]) + widen(b.values[k]);
      const Pack<T> rounded = narrow_pack<T>(sums);  // whose norm it is
      x[i] = bits_of(rounded);
      if (at < packs) store_pack(f.sum + begin + at * kSize, rounded);
    }
  }

  RowStats<A> stats;
  if constexpr (kPass == Pass::recompute) {
    stats = {f.stats[2 * row], f.stats[2 * row + 1]};
  } else {
    __shared__ A shared[2][kMaxWarps];
    const auto sum = [&] {
      A own = 0;
#pragma unroll
      for (int i = 0; i < kPacks; ++i) {
        const Pack<T> values = pack_of<T>(x[i]);
#pragma unroll
        for (int k = 0; k < kSize; ++k) own += widen(values.values[k]);
      }
      return own;
    };
    const auto moment = [&](A center) {
      A own = 0;
#pragma unroll
      for (int i = 0; i < kPacks; ++i) {
        if (thread + i * threads >= packs) break;
        const Pack<T> values = pack_of<T>(x[i]);
#pragma unroll
        for (int k = 0; k < kSize; ++k) {
          const A difference = widen(values.values[k]) - center;
          own = fma(difference, difference, own);
        }
      }
      return own;
    };
    const auto total = [&](A part, int n) { return kWarpRows ? warp_sum(part) : block_sum(part, shared[n]); };
    stats = stats_of<kKind, A>(f.columns, f.eps, sum, moment, total);
    if (thread == 0) {
      f.stats[2 * row] = stats.mean;
      f.stats[2 * row + 1] = stats.inverse;
    }
  }

#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    const int at = thread + i * threads;
    if (at >= packs) break;
    const Pack<T> values = pack_of<T>(x[i]), gain = load_invariant_pack(f.gain + at * kSize);
    Pack<T> bias = gain;
    if constexpr (kKind == NormKind::layer) bias = load_invariant_pack(f.bias + at * kSize);
    A y[kSize];
#pragma unroll
    for (int k = 0; k < kSize; ++k)
      y[k] = normalized<kKind>(widen(values.values[k]), stats, widen(gain.values[k]), widen(bias.values[k]));
    store_pack(f.y + begin + at * kSize, narrow_pack<T>(y));
  }
}

/// One block a row.
template <class T, NormKind kKind, Pass kPass>
__global__ void __launch_bounds__(kThreads) forward_any_kernel(Forward<T> f) {
  using A = Accumulator<T>;
  const int64_t row = blockIdx.x;
  const auto thread = static_cast<int>(threadIdx.x);
  const T* x = f.x + row * f.columns;
  T* y = f.y + row * f.columns;
  if constexpr (kPass == Pass::add_norm) {
    const T* delta = f.delta + row * f.columns;
    T* sum = f.sum + row * f.columns;
    for (int i = thread; i < f.columns; i += kThreads) sum[i] = narrow<T>(widen(x[i]) + widen(delta[i]));
    x = sum;  // each thread reads what it wrote itself
  }
  RowStats<A> stats;
  if constexpr (kPass == Pass::recompute) {
    stats = {f.stats[2 * row], f.stats[2 * row + 1]};
  } else {
    __shared__ A shared[2][kMaxWarps];
    const auto sum = [&] {
      A own = 0;
      for (int i = thread; i < f.columns; i += kThreads) own += widen(x[i]);
      return own;
    };
    const auto moment = [&](A center) {
      A own = 0;
      for (int i = thread; i < f.columns; i += kThreads) {
        const A difference = widen(x[i]) - center;
        own = fma(difference, difference, own);
      }
      return own;
    };
    const auto total = [&](A part, int n) { return block_sum(part, shared[n]); };
    stats = stats_of<kKind, A>(f.columns, f.eps, sum, moment, total);
    if (thread == 0) {
      f.stats[2 * row] = stats.mean;
      f.stats[2 * row + 1] = stats.inverse;
    }
  }
  for (int i = thread; i < f.columns; i += kThreads) {
    const A bias = kKind == NormKind::layer ? widen(f.bias[i]) : A(0);
    y[i] = narrow<T>(normalized<kKind>(widen(x[i]), stats, widen(f.gain[i]), bias));
  }
}

/// With x̂ = (x − mean)·inverse and g = dy·gain, dx = dresidual + inverse·(g − mean(g) − x̂·mean(g·x̂)), where rms norm
/// has no mean(g); the gradient of gain is dy·x̂ and that of bias is dy, summed over rows.
template <class T>
struct Backward {
  const T* gain;
  const T* dy;
  const T* x;
  const T* dresidual;  ///< may be null
  T* dx;
  const Accumulator<T>* stats;
  Accumulator<T>* partials;  ///< one row a block: its sums for gain and, for layer norm, behind them for bias
  int rows;
  int columns;
};

template <class A>
struct RowMeans {
  A g, gx;  ///< sums first
};

template <NormKind kKind, class A>
__device__ __forceinline__ A x_hat(A x, RowStats<A> stats) {
  return (kKind == NormKind::layer ? x - stats.mean : x) * stats.inverse;
}

template <NormKind kKind, class A>
__device__ __forceinline__ A input_gradient(A g, A hat, RowStats<A> stats, RowMeans<A> means, A dresidual) {
  if constexpr (kKind == NormKind::layer) g -= means.g;
  return fma(fma(-hat, means.gx, g), stats.inverse, dresidual);
}

/// All threads get the means over the block's row. Calls take turns with two `shared` arrays: whoever fills one has
/// passed the barrier after which all had read it.
template <NormKind kKind, class A>
__device__ __forceinline__ RowMeans<A> row_means(RowMeans<A> sums, int columns, RowMeans<A>* shared) {
  const auto warps = static_cast<int>(blockDim.x) / kWarp;
  const auto warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const auto sum_over_warp = [&] {
    if constexpr (kKind == NormKind::layer) sums.g = warp_sum(sums.g);
    sums.gx = warp_sum(sums.gx);
  };
  sum_over_warp();
  if (lane == 0) shared[warp] = sums;
  __syncthreads();
  sums = {};
  if (lane < warps) sums = shared[lane];
  sum_over_warp();
  return {sums.g / static_cast<A>(columns), sums.gx / static_cast<A>(columns)};
}

/// A thread's part of one row.
template <class T, int kPacks>
struct BackwardRow {
  PackBits dy[kPacks], x[kPacks], dresidual[kPacks];
  RowStats<Accumulator<T>> stats;

  __device__ __forceinline__ void load(const Backward<T>& b, int row) {
    constexpr int kSize = Pack<T>::kSize;
    const int packs = b.columns / kSize;
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      const auto at = static_cast<int>(threadIdx.x + i * blockDim.x);
      const int64_t from = int64_t{row} * b.columns + at * kSize;
      dy[i] = at < packs ? load_bits(b.dy + from) : PackBits{};
      x[i] = at < packs ? load_bits(b.x + from) : PackBits{};
      dresidual[i] = at < packs && b.dresidual != nullptr ? load_bits(b.dresidual + from) : PackBits{};
    }
    stats = {b.stats[2 * int64_t{row}], b.stats[2 * int64_t{row} + 1]};
  }
};

/// Most threads of a block, and how many a multiprocessor holds at once: what their registers allow.
template <int kPacks>
inline constexpr int kMaxThreads = kPacks == 1 ? 128 : 512;
template <int kPacks>
inline constexpr int kResidentThreads = kPacks == 1 ? 768 : 512;

/// Each block goes over every gridDim.x-th row. A thread keeps its columns and their sums, and asks for the next row
/// before it works on this one.
template <class T, NormKind kKind, int kPacks>
__global__ void __launch_bounds__(kMaxThreads<kPacks>, kResidentThreads<kPacks> / kMaxThreads<kPacks>)
    backward_kernel(Backward<T> b) {
  using A = Accumulator<T>;
  constexpr int kSize = Pack<T>::kSize;
  constexpr bool kLayer = kKind == NormKind::layer;
  __shared__ RowMeans<A> shared[2][kMaxWarps];
  const int packs = b.columns / kSize;
  A dgain[kPacks][kSize] = {}, dbias[kPacks][kSize] = {};
  BackwardRow<T, kPacks> next;
  const auto stride = static_cast<int>(gridDim.x);
  auto row = static_cast<int>(blockIdx.x);
  if (row < b.rows) next.load(b, row);
  for (int turn = 0; row < b.rows; row += stride, turn ^= 1) {
    BackwardRow<T, kPacks> now = next;
    if (row + stride < b.rows) next.load(b, row + stride);
    RowMeans<A> means{};
    PackBits gain_bits[kPacks];  // from the L1 cache each time: registers are for rows under way
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      const auto at = static_cast<int>(threadIdx.x + i * blockDim.x);
      gain_bits[i] = at < packs ? reinterpret_cast<const PackBits*>(b.gain)[at] : PackBits{};
      const Pack<T> dys = pack_of<T>(now.dy[i]), x = pack_of<T>(now.x[i]), gain = pack_of<T>(gain_bits[i]);
#pragma unroll
      for (int k = 0; k < kSize; ++k) {
        const A dy = widen(dys.values[k]), g = dy * widen(gain.values[k]);
        const A hat = x_hat<kKind>(widen(x.values[k]), now.stats);
        dgain[i][k] = fma(dy, hat, dgain[i][k]);
        means.gx = fma(g, hat, means.gx);
        if constexpr (kLayer) {
          dbias[i][k] += dy;
          means.g += g;
        }
      }
    }
    means = row_means<kKind>(means, b.columns, shared[turn]);
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      const auto at = static_cast<int>(threadIdx.x + i * blockDim.x);
      if (at >= packs) break;
      if constexpr (kLayer && kPacks > 1) forget(now.x[i]), forget(now.dy[i]);
      const Pack<T> dys = pack_of<T>(now.dy[i]), x = pack_of<T>(now.x[i]), gain = pack_of<T>(gain_bits[i]);
      const Pack<T> dresidual = pack_of<T>(now.dresidual[i]);
      A dx[kSize];
#pragma unroll
      for (int k = 0; k < kSize; ++k) {
        const A g = widen(dys.values[k]) * widen(gain.values[k]);
        const A hat = x_hat<kKind>(widen(x.values[k]), now.stats);
        dx[k] = input_gradient<kKind>(g, hat, now.stats, means, widen(dresidual.values[k]));
      }
      store_pack(b.dx + int64_t{row} * b.columns + at * kSize, narrow_pack<T>(dx));
    }
  }

  A* partial = b.partials + int64_t{blockIdx.x} * (kLayer ? 2 : 1) * b.columns;
#pragma unroll
  for (int i = 0; i < kPacks; ++i) {
    const auto at = static_cast<int>(threadIdx.x + i * blockDim.x);
    if (at >= packs) break;
#pragma unroll
    for (int k = 0; k < kSize; ++k) {
      partial[at * kSize + k] = dgain[i][k];
      if constexpr (kLayer) partial[int64_t{b.columns} + at * kSize + k] = dbias[i][k];
    }
  }
}

/// As above, with the sums in memory. A thread always has the same columns, so it meets only its own writes.
template <class T, NormKind kKind>
__global__ void __launch_bounds__(kThreads) backward_any_kernel(Backward<T> b) {
  using A = Accumulator<T>;
  constexpr bool kLayer = kKind == NormKind::layer;
  __shared__ RowMeans<A> shared[2][kMaxWarps];
  const auto thread = static_cast<int>(threadIdx.x);
  A* dgain = b.partials + int64_t{blockIdx.x} * (kLayer ? 2 : 1) * b.columns;
  A* dbias = dgain + b.columns;
  for (int i = thread; i < b.columns; i += kThreads) {
    dgain[i] = 0;
    if constexpr (kLayer) dbias[i] = 0;
  }
  int turn = 0;
  for (int64_t row = blockIdx.x; row < b.rows; row += gridDim.x, turn ^= 1) {
    const T* x = b.x + row * b.columns;
    const T* dy = b.dy + row * b.columns;
    const RowStats<A> stats{b.stats[2 * row], b.stats[2 * row + 1]};
    RowMeans<A> means{};
    for (int i = thread; i < b.columns; i += kThreads) {
      const A hat = x_hat<kKind>(widen(x[i]), stats), g = widen(dy[i]) * widen(b.gain[i]);
      dgain[i] = fma(widen(dy[i]), hat, dgain[i]);
      means.gx = fma(g, hat, means.gx);
      if constexpr (kLayer) {
        dbias[i] += widen(dy[i]);
        means.g += g;
      }
    }
    means = row_means<kKind>(means, b.columns, shared[turn]);
    for (int i = thread; i < b.columns; i += kThreads) {
      const int64_t at = row * b.columns + i;
      const A hat = x_hat<kKind>(widen(x[i]), stats), g = widen(dy[i]) * widen(b.gain[i]);
      const A dresidual = b.dresidual == nullptr ? A(0) : widen(b.dresidual[at]);
      b.dx[at] = narrow<T>(input_gradient<kKind>(g, hat, stats, means, dresidual));
    }
  }
}

constexpr int kTileColumns = 8, kTileRows = 64;

/// sums = Σ rows: strided sums by threads, then a tree over them. No rows give zeros.
template <class A>
__global__ void __launch_bounds__(kTileColumns* kTileRows)
    sum_rows_kernel(const A* rows, int64_t count, int64_t columns, A* sums) {
  __shared__ A shared[kTileRows][kTileColumns];
  const auto own_column = static_cast<int>(threadIdx.x) % kTileColumns;
  const auto own_row = static_cast<int>(threadIdx.x) / kTileColumns;
  const int64_t column = int64_t{blockIdx.x} * kTileColumns + own_column;
  A sum = 0;
  if (column < columns) {
#pragma unroll 8
    for (int64_t row = own_row; row < count; row += kTileRows) sum += rows[row * columns + column];
  }
  shared[own_row][own_column] = sum;
  for (int half = kTileRows / 2; half > 0; half /= 2) {
    __syncthreads();
    if (own_row < half) shared[own_row][own_column] += shared[own_row + half][own_column];
  }
  if (own_row == 0 && column < columns) sums[column] = shared[0][own_column];
}

template <class T>
const T* data_or_null(const Tensor& tensor) {
  return tensor.defined() ? data_of<T>(tensor) : nullptr;
}

// Half of what int holds, so that an index one stride behind the end is one too.
int rows_of(const Tensor& x) {
  TRIDENT_CHECK(x.rows() <= int64_t{1} << 30);
  return static_cast<int>(x.rows());
}
int columns_of(const Tensor& x) {
  TRIDENT_CHECK(x.columns() <= int64_t{1} << 30);
  return static_cast<int>(x.columns());
}

/// Packs of a row if all its memory may be read in packs, else 0.
template <class T>
int whole_packs(int columns, std::initializer_list<const void*> pointers) {
  uintptr_t bits = 0;
  for (const void* pointer : pointers) bits |= reinterpret_cast<uintptr_t>(pointer);
  return bits % sizeof(Pack<T>) == 0 && columns % Pack<T>::kSize == 0 ? columns / Pack<T>::kSize : 0;
}

unsigned threads_for(int packs, int packs_per_thread) {
  return static_cast<unsigned>(divide_up(divide_up(packs, packs_per_thread), kWarp) * kWarp);
}

template <class T, NormKind kKind, Pass kPass>
void launch_forward(const Stream& stream, const Forward<T>& f) {
  const cudaStream_t queue = queue_of(stream);
  const auto rows = static_cast<unsigned>(f.rows);
  const unsigned warp_blocks = divide_up<unsigned>(rows, kWarpRowThreads / kWarp);
  const int packs = whole_packs<T>(f.columns, {f.x, f.delta, f.sum, f.y, f.gain, f.bias});
  if (packs == 0 || packs > 4 * 1024)
    forward_any_kernel<T, kKind, kPass><<<rows, kThreads, 0, queue>>>(f);
  else if (packs <= 2 * kWarp)
    forward_kernel<T, kKind, kPass, 2, true><<<warp_blocks, kWarpRowThreads, 0, queue>>>(f);
  else if (packs <= 4 * kWarp)
    forward_kernel<T, kKind, kPass, 4, true><<<warp_blocks, kWarpRowThreads, 0, queue>>>(f);
  else if (packs <= 8 * kWarp)
    forward_kernel<T, kKind, kPass, 8, true><<<warp_blocks, kWarpRowThreads, 0, queue>>>(f);
  else
    forward_kernel<T, kKind, kPass, 4, false><<<rows, threads_for(packs, 4), 0, queue>>>(f);
}

template <Pass kPass>
void forward(const Stream& stream, const NormWeights& weights, const Tensor& x, const Tensor& delta, const Tensor& sum,
             const Tensor& y, const Tensor& stats) {
  if (x.elements() == 0) return;
  with_float_type(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const Forward<T> f{data_of<T>(x),
                       data_or_null<T>(delta),
                       sum.defined() ? data_of<T>(sum) : nullptr,
                       data_of<T>(y),
                       data_of<T>(weights.gain),
                       data_or_null<T>(weights.bias),
                       data_of<A>(stats),
                       x.rows(),
                       columns_of(x),
                       static_cast<A>(weights.eps)};
    if (weights.kind == NormKind::layer)
      launch_forward<T, NormKind::layer, kPass>(stream, f);
    else
      launch_forward<T, NormKind::rms, kPass>(stream, f);
  });
}

/// Fills a GPU of 132 multiprocessors (H100, H200). Another one gets the same blocks: their number decides the order of
/// sums, and bits must not depend on the device.
int64_t backward_blocks(int64_t rows, unsigned threads, int resident_threads) {
  return std::min<int64_t>(rows, int64_t{132} * std::clamp<int>(resident_threads / static_cast<int>(threads), 1, 16));
}

template <class T, NormKind kKind>
void launch_backward(const Stream& stream, Backward<T> b, Accumulator<T>* sums) {
  using A = Accumulator<T>;
  const int packs = whole_packs<T>(b.columns, {b.gain, b.dy, b.x, b.dresidual, b.dx});
  // Two packs a thread have more memory under way, but leave threads of short rows idle.
  auto* kernel = backward_any_kernel<T, kKind>;
  unsigned threads = kThreads;
  int resident_threads = 3 * kThreads;
  if (packs > 0 && packs <= kMaxThreads<1>) {
    kernel = backward_kernel<T, kKind, 1>;
    threads = threads_for(packs, 1);
    resident_threads = kResidentThreads<1>;
  } else if (packs > 0 && packs <= 2 * kMaxThreads<2>) {
    kernel = backward_kernel<T, kKind, 2>;
    threads = threads_for(packs, 2);
    resident_threads = kResidentThreads<2>;
  }
  const int64_t blocks = backward_blocks(b.rows, threads, resident_threads);
  const int64_t sum_columns = int64_t{kKind == NormKind::layer ? 2 : 1} * b.columns;
  const cudaStream_t queue = queue_of(stream);
  if (blocks > 0) {
    b.partials = static_cast<A*>(state_of(stream).scratch(static_cast<size_t>(blocks * sum_columns) * sizeof(A)));
    kernel<<<static_cast<unsigned>(blocks), threads, 0, queue>>>(b);
    check_launch("norm_backward");
  }
  const auto sum_blocks = static_cast<unsigned>(divide_up<int64_t>(sum_columns, kTileColumns));
  sum_rows_kernel<A><<<sum_blocks, kTileColumns * kTileRows, 0, queue>>>(b.partials, blocks, sum_columns, sums);
  check_launch("norm_backward");
}

}  // namespace

void norm_forward(const Stream& stream, const NormWeights& weights, const Tensor& x, const Tensor& delta, Tensor& sum,
                  Tensor& y, Tensor& stats) {
  if (delta.defined())
    forward<Pass::add_norm>(stream, weights, x, delta, sum, y, stats);
  else
    forward<Pass::norm>(stream, weights, x, {}, {}, y, stats);
  check_launch("norm_forward");
}

void norm_recompute(const Stream& stream, const NormWeights& weights, const Tensor& x, const Tensor& stats, Tensor& y) {
  forward<Pass::recompute>(stream, weights, x, {}, {}, y, stats);
  check_launch("norm_recompute");
}

void norm_backward(const Stream& stream, const NormWeights& weights, const Tensor& dy, const Tensor& x,
                   const Tensor& stats, const Tensor& dresidual, Tensor& dx, Tensor& partials) {
  if (x.columns() == 0) return;
  with_float_type(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const Backward<T> b{data_of<T>(weights.gain),
                        data_of<T>(dy),
                        data_of<T>(x),
                        data_or_null<T>(dresidual),
                        data_of<T>(dx),
                        data_of<A>(stats),
                        nullptr,
                        rows_of(x),
                        columns_of(x)};
    if (weights.kind == NormKind::layer)
      launch_backward<T, NormKind::layer>(stream, b, data_of<A>(partials));
    else
      launch_backward<T, NormKind::rms>(stream, b, data_of<A>(partials));
  });
}

}  // namespace trident::cuda
