#pragma once

#include <cstring>

#include "kernels/cuda/launch.cuh"

/// How the kernels that go over rows read and write them: sixteen bytes at a time.
namespace trident::cuda {

/// Past the L1 cache: rows are read once and would only push out what all rows share.
template <class T>
__device__ __forceinline__ Pack<T> load_pack(const T* from) {
  const int4 bits = __ldcg(reinterpret_cast<const int4*>(from));
  Pack<T> pack;
  memcpy(&pack, &bits, sizeof(pack));
  return pack;
}

template <class T>
__device__ __forceinline__ void store_pack(T* to, const Pack<T>& pack) {
  int4 bits;
  memcpy(&bits, &pack, sizeof(pack));
  *reinterpret_cast<int4*>(to) = bits;
}

template <class T>
__device__ __forceinline__ Pack<T> filled_pack(T value) {
  Pack<T> pack;
#pragma unroll
  for (int i = 0; i < Pack<T>::kSize; ++i) pack.values[i] = value;
  return pack;
}

template <class T>
__device__ __forceinline__ Pack<T> narrow_pack(const Accumulator<T> (&values)[Pack<T>::kSize]) {
  Pack<T> pack;
  if constexpr (std::is_same_v<T, __nv_bfloat16>) {
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; i += 2) {
      const __nv_bfloat162 pair = __floats2bfloat162_rn(values[i], values[i + 1]);  // one instruction for both
      pack.values[i] = pair.x;
      pack.values[i + 1] = pair.y;
    }
  } else {
#pragma unroll
    for (int i = 0; i < Pack<T>::kSize; ++i) pack.values[i] = values[i];
  }
  return pack;
}

}  // namespace trident::cuda
