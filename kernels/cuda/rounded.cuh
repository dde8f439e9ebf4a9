#pragma once

/// Arithmetic rounded as written, whatever the compiler would contract: where the CPU has the same operations, GPUs
/// give the same bits.
namespace trident::cuda {

/// a·b + c, rounded once.
__device__ __forceinline__ float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ __forceinline__ double fused(double a, double b, double c) { return __fma_rn(a, b, c); }
/// a·b, rounded.
__device__ __forceinline__ float product(float a, float b) { return __fmul_rn(a, b); }
__device__ __forceinline__ double product(double a, double b) { return __dmul_rn(a, b); }

}  // namespace trident::cuda
