#pragma once

#include <cstring>

#include "kernels/cuda/launch.cuh"

/// How the kernels that go over rows read and write them: sixteen bytes at a time.
namespace trident::cuda {

/// A pack as it lies in registers: bf16 values of their own would take one each.
using PackBits = int4;

template <class T>
__device__ __forceinline__ Pack<T> pack_of(PackBits bits) {
  Pack<T> pack;
  memcpy(&pack, &bits, sizeof(pack));
  return pack;
}

template <class T>
__device__ __forceinline__ PackBits bits_of(const Pack<T>& pack) {
  PackBits bits;
  memcpy(&bits, &pack, sizeof(bits));
  return bits;
}

/// Past the L1 cache: rows are read once and would only push out what all rows share.
template <class T>
__device__ __forceinline__ PackBits load_bits(const T* from) {
  return __ldcg(reinterpret_cast<const int4*>(from));
}

/// Hides that `bits` stay what they are: the compiler unpacks them again, where it would keep the unpacked values in
/// registers that it does not have.
__device__ __forceinline__ void forget(PackBits& bits) {
  asm volatile("" : "+r"(bits.x), "+r"(bits.y), "+r"(bits.z), "+r"(bits.w));
}

/// What all rows share and the kernel does not write, so that it may be read ahead of any store.
template <class T>
__device__ __forceinline__ Pack<T> load_invariant_pack(const T* from) {
  return pack_of<T>(__ldg(reinterpret_cast<const int4*>(from)));
}

template <class T>
__device__ __forceinline__ void store_pack(T* to, const Pack<T>& pack) {
  *reinterpret_cast<int4*>(to) = bits_of(pack);
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
