#include "kernels/elementwise.h"

#include <gtest/gtest.h>

#include "tests/kernels/tensors.h"

namespace trident {
namespace {

using namespace testing;

TEST(Elementwise, AddRoundsTheExactSum) {
  const Stream stream = Stream::cpu(2);
  for (const DType dtype : kFloats) {
    for (const int64_t columns : {1, 3, 17, 255, 1000, 40000}) {
      const Tensor a = random({columns}, dtype, 1), b = random({columns}, dtype, 2);
      Tensor expected = poisoned(a.shape(), dtype), out = poisoned(a.shape(), dtype);
      for (int64_t i = 0; i < columns; ++i) set_element(expected, i, element(a, i) + element(b, i));
      add(stream, a, b, out);
      EXPECT_TRUE(same_bits(out, expected));
      Tensor left = copy(a), right = copy(b);
      add(stream, left, b, left);
      add(stream, a, right, right);
      EXPECT_TRUE(same_bits(left, expected));
      EXPECT_TRUE(same_bits(right, expected));
      Tensor sum = copy(a);
      accumulate(stream, b, sum);
      EXPECT_TRUE(same_bits(sum, expected));
    }
  }
}

/// The bfloat16 nearest to `value`, ties to even, found by search among its neighbours.
bfloat16 nearest_bfloat16(double value) {
  bfloat16 best(static_cast<float>(value));
  const uint16_t start = best.bits;
  for (const int step : {-1, 1}) {
    bfloat16 other;
    other.bits = static_cast<uint16_t>(start + step);
    const double here = std::abs(static_cast<double>(static_cast<float>(best)) - value);
    const double there = std::abs(static_cast<double>(static_cast<float>(other)) - value);
    if (there < here || (there == here && other.bits % 2 == 0)) best = other;
  }
  return best;
}

TEST(Elementwise, CastRoundsToNearestEven) {
  const Stream stream = Stream::cpu(2);
  Values values = {0.0, -0.0, 1.0, 1 + 1.0 / 256, 1 + 3.0 / 256, 1e-3};
  // Just beside the middle of two bfloat16, closer than a float can tell: rounding twice would go wrong.
  for (const double tiny : {-1e-12, 0.0, 1e-12}) values.push_back(1 + 1.0 / 256 + tiny);
  for (const double tiny : {-1e-12, 0.0, 1e-12}) values.push_back(-1 - 3.0 / 256 + tiny);
  const Tensor more = random({50000}, DType::fp64, 1);
  for (int64_t i = 0; i < more.elements(); ++i) values.push_back(element(more, i));
  const Shape shape{static_cast<int64_t>(values.size())};
  for (const DType from_type : kFloats) {
    const Tensor from = tensor_of(shape, from_type, values);
    for (const DType to_type : kFloats) {
      Tensor to = poisoned(shape, to_type), expected = poisoned(shape, to_type);
      for (int64_t i = 0; i < from.elements(); ++i) set_element(expected, i, element(from, i));
      if (to_type == DType::bf16) {
        for (int64_t i = 0; i < from.elements(); ++i) {
          expected.data<bfloat16>()[i] = nearest_bfloat16(element(from, i));
        }
      }
      cast(stream, from, to);
      EXPECT_TRUE(same_bits(to, expected)) << to_string(from_type) << " to " << to_string(to_type);
    }
  }
}

TEST(Elementwise, CastKeepsInfinityAndNan) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const DType from_type : kFloats) {
    const Tensor from = tensor_of({5}, from_type, {infinity, -infinity, std::nan(""), 3.39e38, -3.4e38});
    for (const DType to_type : kFloats) {
      Tensor to = filled({5}, to_type, 1);
      cast(Stream::cpu(1), from, to);
      EXPECT_EQ(element(to, 0), infinity);
      EXPECT_EQ(element(to, 1), -infinity);
      EXPECT_TRUE(std::isnan(element(to, 2)));
      if (to_type == DType::bf16)
        EXPECT_EQ(element(to, 4), -infinity);  // beyond the largest bfloat16
      else
        EXPECT_NEAR(element(to, 3), element(from, 3), 1e31);
    }
  }
}

TEST(Elementwise, MetaDoesNothing) {
  HeapAllocator meta(Device::meta());
  Tensor x = meta.allocate({1 << 20, 1 << 12}, DType::fp32), y = meta.allocate({1 << 20, 1 << 12}, DType::bf16);
  add(Stream::meta(), x, x, x);
  accumulate(Stream::meta(), x, x);
  cast(Stream::meta(), x, y);
}

}  // namespace
}  // namespace trident
