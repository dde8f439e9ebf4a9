#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/cuda/fp8.h"
#include "tests/kernels/random_tensors.h"

/// The formats as their paper defines them (Micikevicius et al., 2022, table 1), and tensors quantized on the host.
namespace trident::testing {

using cuda::Fp8Format;

inline constexpr Fp8Format kFp8Formats[] = {Fp8Format::e4m3, Fp8Format::e5m2};

/// The value of a byte: sign, exponent, mantissa. e4m3 has no infinities and one NaN of each sign.
inline double fp8_value(Fp8Format format, int byte) {
  const bool e4m3 = format == Fp8Format::e4m3;
  const int mantissa_bits = e4m3 ? 3 : 2, bias = e4m3 ? 7 : 15;
  const int mantissa = byte & ((1 << mantissa_bits) - 1), exponent = (byte & 0x7f) >> mantissa_bits;
  const double sign = byte < 0x80 ? 1 : -1;
  if (e4m3 && (byte & 0x7f) == 0x7f) return std::nan("");
  if (!e4m3 && exponent == 31) return mantissa == 0 ? sign * HUGE_VAL : std::nan("");
  const double fraction = std::ldexp(mantissa, -mantissa_bits);
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias);
  return sign * std::ldexp(1 + fraction, exponent - bias);
}

inline int largest_fp8(Fp8Format format) { return format == Fp8Format::e4m3 ? 0x7e : 0x7b; }

inline float as_float(uint16_t bf16) { return static_cast<float>(std::bit_cast<bfloat16>(bf16)); }

/// What quantize() makes of a bf16 tensor.
struct HostFp8 {
  std::vector<uint8_t> bytes;
  uint32_t largest = 0;
  float inverse = 0;
};

template <Fp8Format kFormat>
HostFp8 quantized_on_host(const Tensor& x) {
  HostFp8 result;
  const auto* values = x.data<bfloat16>();
  for (int64_t i = 0; i < x.elements(); ++i)
    result.largest = std::max(result.largest, uint32_t{values[i].bits} & 0x7fff);
  const float scale = cuda::fp8_scale(result.largest, kFormat);
  for (int64_t i = 0; i < x.elements(); ++i)
    result.bytes.push_back(static_cast<uint8_t>(cuda::fp8_pair<kFormat>(scale * static_cast<float>(values[i]), 0.0f)));
  result.inverse = cuda::fp8_inverse(result.largest, kFormat);
  return result;
}

inline HostFp8 quantized_on_host(const Tensor& x, Fp8Format format) {
  return format == Fp8Format::e4m3 ? quantized_on_host<Fp8Format::e4m3>(x) : quantized_on_host<Fp8Format::e5m2>(x);
}

/// The values that products in fp8 multiply instead of x's, in fp64.
inline Tensor dequantized(const Tensor& x, Fp8Format format) {
  const HostFp8 quantized = quantized_on_host(x, format);
  Tensor values = HeapAllocator().allocate(x.shape(), DType::fp64);
  for (int64_t i = 0; i < x.elements(); ++i)
    set(values, i, fp8_value(format, quantized.bytes[static_cast<size_t>(i)]) * static_cast<double>(quantized.inverse));
  return values;
}

}  // namespace trident::testing
