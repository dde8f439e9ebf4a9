#pragma once

#include <bit>
#include <cstdint>

namespace trident {

/// IEEE half precision, as files hold it; nothing computes in it. Rounds to nearest even; NaN stays NaN.
struct float16 {
  uint16_t bits = 0;

  float16() = default;
  explicit float16(float value) : bits(round(value)) {}
  explicit operator float() const;

 private:
  static uint16_t round(float value);
};

inline float16::operator float() const {
  const uint32_t sign = (uint32_t{bits} & 0x8000u) << 16;
  const uint32_t exponent = (uint32_t{bits} >> 10) & 0x1fu;
  const uint32_t mantissa = uint32_t{bits} & 0x3ffu;
  if (exponent == 0) {  // zero and subnormals: mantissa * 2^-24, exact in fp32
    return std::bit_cast<float>(std::bit_cast<uint32_t>(static_cast<float>(mantissa) * 0x1p-24F) | sign);
  }
  const uint32_t wide = exponent == 0x1fu ? 0xffu : exponent + 112u;  // bias 15 -> 127
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

inline uint16_t float16::round(float value) {
  const auto word = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (word >> 16) & 0x8000u;
  const uint32_t magnitude = word & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return static_cast<uint16_t>(sign | 0x7e00u);
  if (magnitude >= 0x477ff000u) return static_cast<uint16_t>(sign | 0x7c00u);  // 65520 and above round to infinity
  if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 makes the FPU round to steps of 2^-24
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000u));
  }
  const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000u) >> 13));
}

}  // namespace trident
