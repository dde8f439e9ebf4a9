#include "checkpoint/float16.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace trident {
namespace {

/// The value by its definition: sign, exponent with bias 15, mantissa of 10 bits.
double by_definition(uint16_t bits) {
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  const int exponent = (bits >> 10) & 0x1f;
  const int mantissa = bits & 0x3ff;
  if (exponent == 0x1f) return mantissa != 0 ? std::nan("") : sign * std::numeric_limits<double>::infinity();
  if (exponent == 0) return sign * std::ldexp(mantissa, -24);
  return sign * std::ldexp(1024 + mantissa, exponent - 25);
}

float16 from_bits(uint32_t bits) {
  float16 value;
  value.bits = static_cast<uint16_t>(bits);
  return value;
}

TEST(Float16, EveryValueWidensExactlyAndComesBack) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float16 half = from_bits(bits);
    const double expected = by_definition(half.bits);
    const auto wide = static_cast<float>(half);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(wide)) << bits;
      ASSERT_TRUE(std::isnan(static_cast<float>(float16(wide)))) << bits;
    } else {
      ASSERT_EQ(static_cast<double>(wide), expected) << bits;
      ASSERT_EQ(std::signbit(wide), bits >= 0x8000) << bits;
      ASSERT_EQ(float16(wide).bits, bits);
    }
  }
}

TEST(Float16, RoundsToNearestTiesToEven) {
  for (uint32_t bits = 0; bits < 0x7bff; ++bits) {  // every neighbouring pair of finite values
    const auto low = static_cast<float>(from_bits(bits));
    const auto high = static_cast<float>(from_bits(bits + 1));
    const float middle = (low + high) / 2;
    const uint32_t even = bits % 2 == 0 ? bits : bits + 1;
    ASSERT_EQ(float16(middle).bits, even);
    ASSERT_EQ(float16(std::nextafter(middle, low)).bits, bits);
    ASSERT_EQ(float16(std::nextafter(middle, high)).bits, bits + 1);
    ASSERT_EQ(float16(-std::nextafter(middle, high)).bits, 0x8000 + bits + 1);
  }
}

TEST(Float16, LargeValuesBecomeInfinity) {
  EXPECT_EQ(float16(65504.0F).bits, 0x7bff);
  EXPECT_EQ(float16(65519.99F).bits, 0x7bff);
  EXPECT_EQ(float16(65520.0F).bits, 0x7c00);
  EXPECT_EQ(float16(-1e30F).bits, 0xfc00);
}

}  // namespace
}  // namespace trident
