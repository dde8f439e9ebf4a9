#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace trident {

/// Brain floating point: the upper half of an IEEE single. Rounds to nearest even; NaN stays NaN.
struct bfloat16 {
  uint16_t bits = 0;

  bfloat16() = default;
  explicit bfloat16(float value) : bits(round(value)) {}
  explicit operator float() const { return std::bit_cast<float>(uint32_t{bits} << 16); }

 private:
  static uint16_t round(float value) {
    const auto word = std::bit_cast<uint32_t>(value);
    if ((word & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>((word >> 16) | 0x40u);
    return static_cast<uint16_t>((word + 0x7fffu + ((word >> 16) & 1u)) >> 16);
  }
};

enum class DType { fp64, fp32, bf16, int32 };

[[nodiscard]] constexpr size_t size_of(DType dtype) {
  switch (dtype) {
    case DType::fp64: return 8;
    case DType::fp32:
    case DType::int32: return 4;
    case DType::bf16: return 2;
  }
  return 0;
}

[[nodiscard]] constexpr std::string_view to_string(DType dtype) {
  switch (dtype) {
    case DType::fp64: return "fp64";
    case DType::fp32: return "fp32";
    case DType::bf16: return "bf16";
    case DType::int32: return "int32";
  }
  return "?";
}

/// Master weights, gradients and optimizer moments are fp32, but fp64 where the compute dtype is.
[[nodiscard]] constexpr DType accumulation_dtype(DType compute) {
  return compute == DType::fp64 ? DType::fp64 : DType::fp32;
}

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::fp64;
};
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::fp32;
};
template <>
struct DTypeOf<bfloat16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<int32_t> {
  static constexpr DType value = DType::int32;
};

}  // namespace trident
