#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

// Fused multiply-adds that stay in registers: the processor's fp32 peak.

namespace trident::bench {

#if defined(__x86_64__)
// Independent sums: more than latency × units needs (4 × 2 on Zen 3 to 5), few enough to leave registers free.
constexpr int kFmaChains = 12;
constexpr int kFmaLoops = 400000;

__attribute__((target("avx512f"), noinline)) inline double fma_flops_512() {
  __m512 sums[kFmaChains];
  for (auto& sum : sums) sum = _mm512_set1_ps(1e-3f);
  const __m512 factor = _mm512_set1_ps(0.999f);
  for (int loop = 0; loop < kFmaLoops; ++loop) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm512_fmadd_ps(sum, factor, factor);
  }
  float total = 0;
  for (const auto& sum : sums) total += _mm512_cvtss_f32(sum);
  volatile float keep = total;
  static_cast<void>(keep);
  return 2.0 * 16 * kFmaChains * kFmaLoops;
}

__attribute__((target("avx2,fma"), noinline)) inline double fma_flops_256() {
  __m256 sums[kFmaChains];
  for (auto& sum : sums) sum = _mm256_set1_ps(1e-3f);
  const __m256 factor = _mm256_set1_ps(0.999f);
  for (int loop = 0; loop < kFmaLoops; ++loop) {
#pragma GCC unroll 12
    for (auto& sum : sums) sum = _mm256_fmadd_ps(sum, factor, factor);
  }
  float total = 0;
  for (const auto& sum : sums) total += _mm256_cvtss_f32(sum);
  volatile float keep = total;
  static_cast<void>(keep);
  return 2.0 * 8 * kFmaChains * kFmaLoops;
}
#endif

/// About a millisecond's multiply-adds on one thread, in the widest vectors; returns their floating-point operations, 0
/// where none are known.
inline double fma_flops() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return fma_flops_512();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return fma_flops_256();
#endif
  return 0.0;
}

inline const char* fma_vectors() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return "512 bit";
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return "256 bit";
#endif
  return "none";
}

}  // namespace trident::bench
