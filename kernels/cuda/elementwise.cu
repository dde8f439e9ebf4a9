#include "kernels/cuda/elementwise.h"
#include "kernels/cuda/launch.cuh"

namespace trident::cuda {
namespace {

constexpr int kThreads = 256;

// The whole packs of all three, then what is left one by one.
template <class T>
__global__ void __launch_bounds__(kThreads) add_kernel(const T* a, const T* b, T* out, int64_t count, bool aligned) {
  using P = Pack<T>;
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kThreads;
  const int64_t packs = aligned ? count / P::kSize : 0;
  for (int64_t i = thread; i < packs; i += threads) {
    const P x = reinterpret_cast<const P*>(a)[i], y = reinterpret_cast<const P*>(b)[i];
    P sum;
#pragma unroll
    for (int k = 0; k < P::kSize; ++k) sum.values[k] = narrow<T>(widen(x.values[k]) + widen(y.values[k]));
    reinterpret_cast<P*>(out)[i] = sum;
  }
  for (int64_t i = packs * P::kSize + thread; i < count; i += threads) out[i] = narrow<T>(widen(a[i]) + widen(b[i]));
}

template <class From, class To>
__device__ __forceinline__ To converted(From value) {
  if constexpr (std::is_same_v<From, To>)
    return value;
  else if constexpr (std::is_same_v<From, double> && std::is_same_v<To, __nv_bfloat16>)
    return __double2bfloat16(value);  // rounds once
  else if constexpr (std::is_same_v<To, __nv_bfloat16>)
    return __float2bfloat16_rn(static_cast<float>(widen(value)));
  else
    return static_cast<To>(widen(value));
}

template <class From, class To>
__global__ void __launch_bounds__(kThreads) cast_kernel(const From* from, To* to, int64_t count, bool aligned) {
  // As many elements at once as fill an access of the wider type.
  constexpr int kSize = Pack<std::conditional_t<(sizeof(From) > sizeof(To)), From, To>>::kSize;
  using Source = Group<From, kSize>;
  using Target = Group<To, kSize>;
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kThreads;
  const int64_t packs = aligned ? count / kSize : 0;
  for (int64_t i = thread; i < packs; i += threads) {
    const Source source = reinterpret_cast<const Source*>(from)[i];
    Target target;
#pragma unroll
    for (int k = 0; k < kSize; ++k) target.values[k] = converted<From, To>(source.values[k]);
    reinterpret_cast<Target*>(to)[i] = target;
  }
  for (int64_t i = packs * kSize + thread; i < count; i += threads) to[i] = converted<From, To>(from[i]);
}

}  // namespace

void add(const Stream& stream, const Tensor& a, const Tensor& b, Tensor& out) {
  const int64_t count = out.elements();
  if (count == 0) return;
  with_float_type(out.dtype(), [&](auto zero) {
    using T = decltype(zero);
    add_kernel<T><<<striding_blocks(count / Pack<T>::kSize, kThreads), kThreads, 0, queue_of(stream)>>>(
        data_of<T>(a), data_of<T>(b), data_of<T>(out), count, aligned({a.raw(), b.raw(), out.raw()}));
  });
  check_launch("add");
}

void cast(const Stream& stream, const Tensor& from, Tensor& to) {
  const int64_t count = to.elements();
  if (count == 0) return;
  with_float_type(from.dtype(), [&](auto from_zero) {
    with_float_type(to.dtype(), [&](auto to_zero) {
      using From = decltype(from_zero);
      using To = decltype(to_zero);
      cast_kernel<From, To><<<striding_blocks(count / 4, kThreads), kThreads, 0, queue_of(stream)>>>(
          data_of<From>(from), data_of<To>(to), count, aligned({from.raw(), to.raw()}));
    });
  });
  check_launch("cast");
}

}  // namespace trident::cuda
