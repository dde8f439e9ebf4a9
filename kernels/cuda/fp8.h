#pragma once

#include <cuda_fp8.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>

/// How bf16 becomes fp8, and where the transposing kernel puts it: plain arithmetic that the host can check.
namespace trident::cuda {

/// Micikevicius et al., "FP8 formats for deep learning" (2022), section 3. The largest values are 1.75·2^8
/// and 1.75·2^15.
enum class Fp8Format {
  e4m3,  ///< activations and weights
  e5m2,  ///< gradients of outputs
};

/// What a quantized tensor needs beside its bytes, in the device's memory.
struct Fp8Scale {
  uint32_t largest;  ///< bits of the largest magnitude, a bf16
  float inverse;     ///< what gives values back; NaN where not all of them were finite
};

inline constexpr uint32_t kBf16Infinity = 0x7f80;

/// Tensors are multiplied with 2 to this power before they are rounded: the largest with which the magnitude `largest`
/// (bits of a bf16) still fits. A power of two moves exponents only, so that products can be compared exactly.
constexpr int fp8_exponent(uint32_t largest, Fp8Format format) {
  constexpr uint32_t kThreeQuarters = 0x60;  // the mantissa of 1.75
  constexpr int kMost = 126;                 // both powers, 2^e and 2^-e, are normal floats
  if (largest == 0 || largest >= kBf16Infinity) return 0;
  const int top = format == Fp8Format::e4m3 ? 8 : 15;
  const int exponent = static_cast<int>(largest >> 7) - 127;
  return std::clamp(top - exponent - ((largest & 0x7f) > kThreeQuarters ? 1 : 0), -kMost, kMost);
}

constexpr float power_of_two(int exponent) { return std::bit_cast<float>(static_cast<uint32_t>(exponent + 127) << 23); }

/// The factor before rounding.
constexpr float fp8_scale(uint32_t largest, Fp8Format format) { return power_of_two(fp8_exponent(largest, format)); }

/// The factor that gives values back.
constexpr float fp8_inverse(uint32_t largest, Fp8Format format) {
  if (largest >= kBf16Infinity) return std::numeric_limits<float>::quiet_NaN();
  return power_of_two(-fp8_exponent(largest, format));
}

/// Two values to the nearest even fp8, the first in the lower byte. Beyond the largest value: that; NaN stays NaN.
template <Fp8Format kFormat>
__host__ __device__ inline uint16_t fp8_pair(float first, float second) {
  return __nv_cvt_float2_to_fp8x2(float2{first, second}, __NV_SATFINITE,
                                  kFormat == Fp8Format::e4m3 ? __NV_E4M3 : __NV_E5M2);
}

// The transposing kernel. A block of 256 threads takes a tile of 128 rows and 64 columns; each thread four rows of
// eight columns, from which it makes eight words, the four bytes of each column. Shared memory holds the tile's
// columns, 32 words each, permuted by sets of four so that neither a warp's words nor the 16-byte chunks that it writes
// to the result lie in the same banks.
namespace fp8_tile {

inline constexpr int kRows = 128, kColumns = 64;
inline constexpr int kThreads = 256;
inline constexpr int kThreadRows = 4, kThreadColumns = 8;
inline constexpr int kWords = kRows * kColumns / 4;
inline constexpr int kChunkRows = 16;  ///< of a column, in one access
inline constexpr int kChunks = kRows * kColumns / kChunkRows;

constexpr int thread_row(int thread) { return thread / (kColumns / kThreadColumns) * kThreadRows; }
constexpr int thread_column(int thread) { return thread % (kColumns / kThreadColumns) * kThreadColumns; }

constexpr int chunk_row(int chunk) { return chunk % (kRows / kChunkRows) * kChunkRows; }
constexpr int chunk_column(int chunk) { return chunk / (kRows / kChunkRows); }

/// Where the word of rows row … row + 3 of a column lies; that of a chunk's first row is where the chunk begins.
constexpr int word_place(int row, int column) { return column * (kRows / 4) + (row / 4 ^ column / kThreadColumns * 4); }

/// Byte `column` of four rows of four columns.
constexpr uint32_t column_word(const uint32_t (&rows)[4], int column) {
  uint32_t word = 0;
  for (int row = 0; row < 4; ++row) word |= (rows[row] >> 8 * column & 0xff) << 8 * row;
  return word;
}

}  // namespace fp8_tile
}  // namespace trident::cuda
