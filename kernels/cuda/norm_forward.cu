#include "kernels/cuda/norm.cuh"

namespace trident::cuda {
namespace norm {
namespace {

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

/// Forward and recompute give the same bits because all kernels end here; no contraction is left to the compiler.
template <NormKind kKind, class A>
__device__ __forceinline__ A normalized(A x, RowStats<A> stats, A gain, A bias) {
  if constexpr (kKind == NormKind::layer)
    return fma((x - stats.mean) * stats.inverse, gain, bias);
  else
    return x * stats.inverse * gain;
}

/// The statistics of a row of which this thread knows a part; Forward::stats where they are an input, else they go
/// there. `moment(center)` is its part of Σ (x − center)²; the layer norm's second pass spares it the cancellation of
/// E[x²] − mean². Sums are over the warp or the block, whichever has the row; `thread`: in that.
template <NormKind kKind, Pass kPass, bool kWarpRows, class T, class Sum, class Moment>
__device__ __forceinline__ RowStats<Accumulator<T>> stats_of_row(const Forward<T>& f, int64_t row, int thread,
                                                                 const Sum& sum, const Moment& moment) {
  using A = Accumulator<T>;
  if constexpr (kPass == Pass::recompute) {
    return {f.stats[2 * row], f.stats[2 * row + 1]};
  } else {
    __shared__ A shared[2][kMaxWarps];
    const auto total = [&](A part, int n) { return kWarpRows ? warp_sum(part) : block_sum(part, shared[n]); };
    A mean = 0;
    if constexpr (kKind == NormKind::layer) mean = total(sum(), 0) / static_cast<A>(f.columns);
    const RowStats<A> stats{mean, A(1) / sqrt(total(moment(mean), 1) / static_cast<A>(f.columns) + f.eps)};
    if (thread == 0) {
      f.stats[2 * row] = stats.mean;
      f.stats[2 * row + 1] = stats.inverse;
    }
    return stats;
  }
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

  const auto load = [&](const T* from, PackBits(&bits)[kPacks]) {
#pragma unroll
    for (int i = 0; i < kPacks; ++i) {
      const int at = thread + i * threads;
      bits[i] = at < packs ? load_bits(from + begin + at * kSize) : PackBits{};
    }
  };
  PackBits x[kPacks];
  load(f.x, x);
  if constexpr (kPass == Pass::add_norm) {
    PackBits delta[kPacks];
    load(f.delta, delta);
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
  const RowStats<A> stats = stats_of_row<kKind, kPass, kWarpRows>(f, row, thread, sum, moment);

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
  const RowStats<A> stats = stats_of_row<kKind, kPass, false>(f, row, thread, sum, moment);
  for (int i = thread; i < f.columns; i += kThreads) {
    const A bias = kKind == NormKind::layer ? widen(f.bias[i]) : A(0);
    y[i] = narrow<T>(normalized<kKind>(widen(x[i]), stats, widen(f.gain[i]), bias));
  }
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
                       data_or_null<T>(sum),
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

}  // namespace
}  // namespace norm

void norm_forward(const Stream& stream, const NormWeights& weights, const Tensor& x, const Tensor& delta, Tensor& sum,
                  Tensor& y, Tensor& stats) {
  if (delta.defined())
    norm::forward<norm::Pass::add_norm>(stream, weights, x, delta, sum, y, stats);
  else
    norm::forward<norm::Pass::norm>(stream, weights, x, {}, {}, y, stats);
  check_launch("norm_forward");
}

void norm_recompute(const Stream& stream, const NormWeights& weights, const Tensor& x, const Tensor& stats, Tensor& y) {
  norm::forward<norm::Pass::recompute>(stream, weights, x, {}, {}, y, stats);
  check_launch("norm_recompute");
}

}  // namespace trident::cuda
