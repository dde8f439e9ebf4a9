#include "kernels/cuda/activation.h"
#include "kernels/cuda/launch.cuh"

namespace trident::cuda {
namespace {

constexpr int kThreads = 256;
// Accesses of each tensor that a thread has under way at once.
constexpr int kUnroll = 2;
constexpr int kTile = kThreads * kUnroll;

/// σ(x) and 1 − σ(x).
template <class A>
struct Sigmoid {
  A value, complement;
};

/// Without overflow, and to the last bits of the accumulator; for bf16 to far more bits than it keeps.
template <class T>
__device__ __forceinline__ Sigmoid<Accumulator<T>> sigmoid(Accumulator<T> x) {
  using A = Accumulator<T>;
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
    const float value = __fdividef(1.0f, 1.0f + __expf(-x));
    return {value, 1.0f - value};
  } else {
    const A small = exp(-abs(x));  // in (0, 1]
    const A large_half = A(1) / (A(1) + small), small_half = small * large_half;
    if (x >= A(0)) return {large_half, small_half};
    return {small_half, large_half};
  }
}

template <class A>
struct Gelu {
  A value, slope;
};

/// gelu(x) = x·σ(2u) with u = √(2/π)·(x + 0.044715·x³), since (1 + tanh u)/2 = σ(2u).
template <class T>
__device__ __forceinline__ Gelu<Accumulator<T>> gelu(Accumulator<T> x) {
  using A = Accumulator<T>;
  constexpr double kTwoRoot = 1.5957691216057307117597842397375;  // 2·√(2/π)
  constexpr double kCubic = 0.044715;
  // Beyond ±100 the sigmoid is 0 or 1 to the last bit, and the cube must not overflow: 0·∞ is not a slope. NaN stays.
  const A bounded = x > A(100) ? A(100) : x < A(-100) ? A(-100) : x;
  const A square = bounded * bounded;
  const A twice_u = bounded * (A(kTwoRoot * kCubic) * square + A(kTwoRoot));
  const A twice_du = A(3 * kTwoRoot * kCubic) * square + A(kTwoRoot);
  const auto s = sigmoid<T>(twice_u);
  const A curve = bounded * s.complement * twice_du;
  return {x * s.value, s.value * curve + s.value};
}

/// The rows of the groups that a thread has of its block's tile: group tile_begin + threadIdx.x + u·kThreads.
class TileRows {
 public:
  __device__ __forceinline__ TileRows(int64_t tile_begin, uint32_t groups_per_row)
      : per_row_(groups_per_row),
        first_row_(tile_begin / groups_per_row),
        first_column_(static_cast<uint32_t>(tile_begin - first_row_ * groups_per_row)) {}
  __device__ __forceinline__ int64_t row(int u) const {
    return first_row_ + (first_column_ + threadIdx.x + u * kThreads) / per_row_;
  }

 private:
  uint32_t per_row_;
  int64_t first_row_;
  uint32_t first_column_;
};

/// `groups`: of y. Each of its rows has half as many as a row of x.
template <class T, int kSize>
__global__ void __launch_bounds__(kThreads)
    swiglu_forward_kernel(const T* x, T* y, int64_t groups, uint32_t groups_per_row) {
  using G = Group<T, kSize>;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kTile;
  const TileRows rows(begin, groups_per_row);
  G gate[kUnroll], up[kUnroll];
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const int64_t i = begin + threadIdx.x + u * kThreads;
    if (i >= groups) break;
    const G* source = reinterpret_cast<const G*>(x) + i + rows.row(u) * groups_per_row;
    gate[u] = source[0];
    up[u] = source[groups_per_row];
  }
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const int64_t i = begin + threadIdx.x + u * kThreads;
    if (i >= groups) break;
    G out;
#pragma unroll
    for (int k = 0; k < kSize; ++k) {
      const auto g = widen(gate[u].values[k]);
      out.values[k] = narrow<T>(g * sigmoid<T>(g).value * widen(up[u].values[k]));
    }
    reinterpret_cast<G*>(y)[i] = out;
  }
}

/// A thread reads all that it overwrites before it writes: dx may be x. y may be null.
template <class T, int kSize>
__global__ void __launch_bounds__(kThreads)
    swiglu_backward_kernel(const T* dy, const T* x, T* dx, T* y, int64_t groups, uint32_t groups_per_row) {
  using G = Group<T, kSize>;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kTile;
  const TileRows rows(begin, groups_per_row);
  G gate[kUnroll], up[kUnroll], grad[kUnroll];
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const int64_t i = begin + threadIdx.x + u * kThreads;
    if (i >= groups) break;
    const G* source = reinterpret_cast<const G*>(x) + i + rows.row(u) * groups_per_row;
    gate[u] = source[0];
    up[u] = source[groups_per_row];
    grad[u] = reinterpret_cast<const G*>(dy)[i];
  }
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    const int64_t i = begin + threadIdx.x + u * kThreads;
    if (i >= groups) break;
    G d_gate, d_up, out;
#pragma unroll
    for (int k = 0; k < kSize; ++k) {
      const auto g = widen(gate[u].values[k]), v = widen(up[u].values[k]), d = widen(grad[u].values[k]);
      const auto s = sigmoid<T>(g);
      const auto silu = g * s.value;
      d_gate.values[k] = narrow<T>(d * v * (silu * s.complement + s.value));
      d_up.values[k] = narrow<T>(d * silu);
      out.values[k] = narrow<T>(silu * v);
    }
    G* target = reinterpret_cast<G*>(dx) + i + rows.row(u) * groups_per_row;
    target[0] = d_gate;
    target[groups_per_row] = d_up;
    if (y != nullptr) reinterpret_cast<G*>(y)[i] = out;
  }
}

/// The whole groups, and by the first block what is left.
template <class T, int kSize>
__global__ void __launch_bounds__(kThreads) gelu_forward_kernel(const T* x, T* y, int64_t count) {
  using G = Group<T, kSize>;
  const int64_t groups = count / kSize, begin = static_cast<int64_t>(blockIdx.x) * kTile + threadIdx.x;
  G in[kUnroll];
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    if (begin + u * kThreads < groups) in[u] = reinterpret_cast<const G*>(x)[begin + u * kThreads];
  }
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    if (begin + u * kThreads >= groups) break;
    G out;
#pragma unroll
    for (int k = 0; k < kSize; ++k) out.values[k] = narrow<T>(gelu<T>(widen(in[u].values[k])).value);
    reinterpret_cast<G*>(y)[begin + u * kThreads] = out;
  }
  const int64_t i = groups * kSize + threadIdx.x;
  if (blockIdx.x == 0 && i < count) y[i] = narrow<T>(gelu<T>(widen(x[i])).value);
}

template <class T, int kSize>
__global__ void __launch_bounds__(kThreads) gelu_backward_kernel(const T* dy, const T* x, T* dx, T* y, int64_t count) {
  using G = Group<T, kSize>;
  const int64_t groups = count / kSize, begin = static_cast<int64_t>(blockIdx.x) * kTile + threadIdx.x;
  G in[kUnroll], grad[kUnroll];
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    if (begin + u * kThreads >= groups) break;
    in[u] = reinterpret_cast<const G*>(x)[begin + u * kThreads];
    grad[u] = reinterpret_cast<const G*>(dy)[begin + u * kThreads];
  }
#pragma unroll
  for (int u = 0; u < kUnroll; ++u) {
    if (begin + u * kThreads >= groups) break;
    G out, d_in;
#pragma unroll
    for (int k = 0; k < kSize; ++k) {
      const auto g = gelu<T>(widen(in[u].values[k]));
      d_in.values[k] = narrow<T>(widen(grad[u].values[k]) * g.slope);
      out.values[k] = narrow<T>(g.value);
    }
    reinterpret_cast<G*>(dx)[begin + u * kThreads] = d_in;
    if (y != nullptr) reinterpret_cast<G*>(y)[begin + u * kThreads] = out;
  }
  const int64_t i = groups * kSize + threadIdx.x;
  if (blockIdx.x == 0 && i < count) {
    const auto g = gelu<T>(widen(x[i]));
    dx[i] = narrow<T>(widen(dy[i]) * g.slope);
    if (y != nullptr) y[i] = narrow<T>(g.value);
  }
}

unsigned tiles(int64_t groups) {
  return static_cast<unsigned>(std::max<int64_t>(1, divide_up<int64_t>(groups, kTile)));
}

}  // namespace

void swiglu_forward(const Stream& stream, const Tensor& x, Tensor& y) {
  const int64_t columns = y.columns(), count = y.elements();
  if (count == 0) return;
  with_float_type(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const bool wide = columns % Pack<T>::kSize == 0 && aligned({x.raw(), y.raw()});
    with_group_size<Pack<T>::kSize>(wide, [&](auto size) {
      const int64_t groups = count / size;
      swiglu_forward_kernel<T, size><<<tiles(groups), kThreads, 0, queue_of(stream)>>>(
          data_of<T>(x), data_of<T>(y), groups, static_cast<uint32_t>(columns / size));
    });
  });
  check_launch("swiglu_forward");
}

void swiglu_backward(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dx, Tensor& y) {
  const int64_t columns = dy.columns(), count = dy.elements();
  if (count == 0) return;
  with_float_type(dy.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const bool wide = columns % Pack<T>::kSize == 0 && aligned({dy.raw(), x.raw(), dx.raw(), y.raw()});
    with_group_size<Pack<T>::kSize>(wide, [&](auto size) {
      const int64_t groups = count / size;
      swiglu_backward_kernel<T, size><<<tiles(groups), kThreads, 0, queue_of(stream)>>>(
          data_of<T>(dy), data_of<T>(x), data_of<T>(dx), data_of<T>(y), groups, static_cast<uint32_t>(columns / size));
    });
  });
  check_launch("swiglu_backward");
}

void gelu_forward(const Stream& stream, const Tensor& x, Tensor& y) {
  const int64_t count = y.elements();
  if (count == 0) return;
  with_float_type(y.dtype(), [&](auto zero) {
    using T = decltype(zero);
    with_group_size<Pack<T>::kSize>(aligned({x.raw(), y.raw()}), [&](auto size) {
      gelu_forward_kernel<T, size>
          <<<tiles(count / size), kThreads, 0, queue_of(stream)>>>(data_of<T>(x), data_of<T>(y), count);
    });
  });
  check_launch("gelu_forward");
}

void gelu_backward(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dx, Tensor& y) {
  const int64_t count = x.elements();
  if (count == 0) return;
  with_float_type(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    with_group_size<Pack<T>::kSize>(aligned({dy.raw(), x.raw(), dx.raw(), y.raw()}), [&](auto size) {
      gelu_backward_kernel<T, size><<<tiles(count / size), kThreads, 0, queue_of(stream)>>>(
          data_of<T>(dy), data_of<T>(x), data_of<T>(dx), data_of<T>(y), count);
    });
  });
  check_launch("gelu_backward");
}

}  // namespace trident::cuda
