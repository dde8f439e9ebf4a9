#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "core/dtype.h"
#include "core/error.h"
#include "core/tensor.h"
#include "kernels/cuda/runtime.h"

/// What every CUDA kernel's host side needs. Kernels run on the stream of the call and nothing waits for them.
namespace trident::cuda {

inline constexpr int kWarp = 32;

/// After every launch. Throws Error(ErrorCode::internal) with `kernel`'s name.
inline void check_launch(const char* kernel) { check(cudaGetLastError(), kernel); }

/// Multiprocessors of the calling thread's device.
[[nodiscard]] inline int multiprocessors() {
  thread_local int known_device = -1, count = 0;
  int device = 0;
  cudaGetDevice(&device);
  if (device != known_device) {
    cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device);
    known_device = device;
  }
  return count;
}

template <class T>
[[nodiscard]] constexpr T divide_up(T value, T by) {
  return (value + by - 1) / by;
}

/// Blocks of `threads` threads that go over `items` in strides: no more than keep the device busy.
[[nodiscard]] inline unsigned striding_blocks(int64_t items, int threads) {
  return static_cast<unsigned>(
      std::clamp<int64_t>(divide_up<int64_t>(items, threads), 1, int64_t{16} * multiprocessors()));
}

/// What a kernel computes in when its tensors hold T.
template <class T>
using Accumulator = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// Calls f with a value of the device's type for `dtype`.
template <class F>
void with_float_type(DType dtype, const F& f) {
  switch (dtype) {
    case DType::fp64: return f(double{});
    case DType::fp32: return f(float{});
    case DType::bf16: return f(__nv_bfloat16{});
    case DType::int32: break;
  }
  TRIDENT_CHECK(false, "a floating-point kernel was given int32");
}

/// The tensor's memory as the device's type T, whose DType the caller has dispatched on.
template <class T>
[[nodiscard]] T* data_of(const Tensor& tensor) {
  return static_cast<T*>(tensor.raw());
}

template <class T>
__device__ __forceinline__ Accumulator<T> widen(T value) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    return __bfloat162float(value);
  else
    return value;
}

template <class T>
__device__ __forceinline__ T narrow(Accumulator<T> value) {
  if constexpr (std::is_same_v<T, __nv_bfloat16>)
    return __float2bfloat16_rn(value);
  else
    return value;
}

/// Consecutive elements, which accesses of up to 16 bytes move.
template <class T, int kCount>
struct alignas(sizeof(T) * kCount < 16 ? sizeof(T) * kCount : 16) Group {
  static constexpr int kSize = kCount;
  T values[kSize];
};

/// As many elements as one 16-byte access moves.
template <class T>
using Pack = Group<T, 16 / sizeof(T)>;

/// All of them are multiples of `bytes`.
[[nodiscard]] inline bool aligned(std::initializer_list<const void*> pointers, uintptr_t bytes = 16) {
  uintptr_t bits = 0;
  for (const void* pointer : pointers) bits |= reinterpret_cast<uintptr_t>(pointer);
  return bits % bytes == 0;
}

/// Calls f with the size of a group as a constant: kSize, or 1 where alignment or the rows' length allow no more.
template <int kSize, class F>
void with_group_size(bool wide, const F& f) {
  if (wide)
    f(std::integral_constant<int, kSize>{});
  else
    f(std::integral_constant<int, 1>{});
}

/// All lanes get the sum over the warp, or over their kLanes neighbours of it, always in the same order.
template <int kLanes = kWarp, class T>
__device__ __forceinline__ T warp_sum(T value) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

template <int kLanes = kWarp, class T>
__device__ __forceinline__ T warp_max(T value) {
#pragma unroll
  for (int offset = kLanes / 2; offset > 0; offset /= 2) {
    const T other = __shfl_xor_sync(0xffffffffu, value, offset);
    value = other > value ? other : value;
  }
  return value;
}

/// All threads of the block get the sum, always in the same order. `shared`: one element a warp; free for reuse after
/// the caller's next __syncthreads().
template <class T>
__device__ __forceinline__ T block_sum(T value, T* shared) {
  value = warp_sum(value);
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  const int warps = static_cast<int>(blockDim.x) / kWarp;
  T sum = shared[0];
  for (int i = 1; i < warps; ++i) sum += shared[i];
  return sum;
}

}  // namespace trident::cuda
