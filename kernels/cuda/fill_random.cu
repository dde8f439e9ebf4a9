#include "kernels/cuda/fill_random.h"
#include "kernels/cuda/launch.cuh"

namespace trident::cuda {
namespace {

constexpr int kThreads = 256;

template <class T>
__global__ void __launch_bounds__(kThreads) fill_random_kernel(T* values, int64_t count) {
  const int64_t threads = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += threads) {
    // The finalizer of MurmurHash3: neighbours differ in all bits.
    uint32_t bits = static_cast<uint32_t>(i);
    bits = (bits ^ (bits >> 16)) * 0x85ebca6bu;
    bits = (bits ^ (bits >> 13)) * 0xc2b2ae35u;
    bits ^= bits >> 16;
    constexpr Accumulator<T> kScale = 1.0f / 2147483648.0f;
    values[i] = narrow<T>(static_cast<Accumulator<T>>(static_cast<int32_t>(bits)) * kScale);
  }
}

}  // namespace

void fill_random(const Stream& stream, void* memory, size_t bytes, DType dtype) {
  with_float_type(dtype, [&](auto zero) {
    using T = decltype(zero);
    fill_random_kernel<T><<<static_cast<unsigned>(8 * multiprocessors()), kThreads, 0, queue_of(stream)>>>(
        static_cast<T*>(memory), static_cast<int64_t>(bytes / sizeof(T)));
  });
  check_launch("fill_random");
}

}  // namespace trident::cuda
