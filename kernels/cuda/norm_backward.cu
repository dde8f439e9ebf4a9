#include "kernels/cuda/norm.cuh"
#include "kernels/cuda/state.h"

namespace trident::cuda {
namespace norm {
namespace {

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
}  // namespace norm

void norm_backward(const Stream& stream, const NormWeights& weights, const Tensor& dy, const Tensor& x,
                   const Tensor& stats, const Tensor& dresidual, Tensor& dx, Tensor& partials) {
  if (x.columns() == 0) return;
  with_float_type(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const norm::Backward<T> b{
        data_of<T>(weights.gain), data_of<T>(dy),    data_of<T>(x), norm::data_or_null<T>(dresidual),
        data_of<T>(dx),           data_of<A>(stats), nullptr,       norm::rows_of(x),
        norm::columns_of(x)};
    if (weights.kind == NormKind::layer)
      norm::launch_backward<T, NormKind::layer>(stream, b, data_of<A>(partials));
    else
      norm::launch_backward<T, NormKind::rms>(stream, b, data_of<A>(partials));
  });
}

}  // namespace trident::cuda
