#include "kernels/rope.h"

#include <gtest/gtest.h>

#include "tests/kernels/tensors.h"

namespace trident {
namespace {

using namespace testing;

Values rotated(const AttentionShape& shape, double theta, int64_t first_position, const Tensor& qkv, double sign) {
  Values out = values_of(qkv);
  const int64_t half = shape.head_dim / 2;
  for (int64_t row = 0; row < qkv.rows(); ++row) {
    for (int64_t head = 0; head < shape.heads + shape.kv_heads; ++head) {
      for (int64_t i = 0; i < half; ++i) {
        const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(shape.head_dim));
        const double angle = sign * static_cast<double>(first_position + row % shape.sequence) * frequency;
        const auto a = static_cast<size_t>(row * shape.qkv_columns() + head * shape.head_dim + i);
        const size_t b = a + static_cast<size_t>(half);
        const double x = out[a], y = out[b];
        out[a] = x * std::cos(angle) - y * std::sin(angle);
        out[b] = x * std::sin(angle) + y * std::cos(angle);
      }
    }
  }
  return out;
}

TEST(Rope, RotatesQueriesAndKeysOnly) {
  const Stream stream = Stream::cpu(2);
  for (const DType dtype : kFloats) {
    for (const int64_t head_dim : {2, 6, 34, 64, 130}) {
      for (const int64_t kv_heads : {1, 3}) {
        const AttentionShape shape{2, 13, 3, kv_heads, head_dim};
        Tensor table = poisoned({40, head_dim}, accumulation_dtype(dtype));
        rope_table(stream, 10000.0, table);
        Tensor qkv = random({2, 13, shape.qkv_columns()}, dtype, 1), back = copy(qkv);
        const Values forward = rotated(shape, 10000.0, 27, qkv, 1), backward = rotated(shape, 10000.0, 27, qkv, -1);
        rope(stream, shape, table, 27, RopeDirection::forward, qkv);
        rope(stream, shape, table, 27, RopeDirection::backward, back);
        expect_near(qkv, forward, 8 * epsilon(dtype), "forward");
        expect_near(back, backward, 8 * epsilon(dtype), "backward");
      }
    }
  }
}

TEST(Rope, FiniteDifferences) {
  const Stream stream = Stream::cpu(1);
  const AttentionShape shape{1, 3, 2, 1, 6};
  Tensor table = poisoned({5, 6}, DType::fp64), x = random({3, shape.qkv_columns()}, DType::fp64, 1);
  rope_table(stream, 100.0, table);
  const Tensor dy = random(x.shape(), DType::fp64, 2);
  Tensor dx = copy(dy);
  rope(stream, shape, table, 1, RopeDirection::backward, dx);
  expect_gradient(x, dx, [&] {
    Tensor y = copy(x);
    rope(stream, shape, table, 1, RopeDirection::forward, y);
    return dot(y, dy);
  });
}

TEST(Rope, ThreadsDoNotChangeBits) {
  const AttentionShape shape{4, 100, 6, 2, 64};
  const Tensor x = random({4, 100, shape.qkv_columns()}, DType::fp32, 1);
  expect_same_for_any_threads([&](const Stream& stream) {
    Tensor table = poisoned({100, 64}, DType::fp32), qkv = copy(x);
    rope_table(stream, 10000.0, table);
    rope(stream, shape, table, 0, RopeDirection::forward, qkv);
    return std::vector<Tensor>{table, qkv};
  });
}

TEST(Rope, PositionsBeyondTheTableAndOddHeadsAreRefused) {
  const AttentionShape shape{1, 4, 1, 1, 8};
  Tensor table = poisoned({5, 8}, DType::fp32), odd = poisoned({5, 7}, DType::fp32);
  rope_table(Stream::cpu(1), 10.0, table);
  Tensor qkv = random({1, 4, 24}, DType::fp32, 1);
  rope(Stream::cpu(1), shape, table, 1, RopeDirection::forward, qkv);
  EXPECT_THROW(rope(Stream::cpu(1), shape, table, 2, RopeDirection::forward, qkv), Error);
  EXPECT_THROW(rope_table(Stream::cpu(1), 10.0, odd), Error);
}

TEST(Rope, MetaDoesNothing) {
  HeapAllocator meta(Device::meta());
  Tensor table = meta.allocate({1 << 20, 64}, DType::fp32), qkv = meta.allocate({1, 1 << 20, 192}, DType::bf16);
  rope_table(Stream::meta(), 1e4, table);
  rope(Stream::meta(), {1, 1 << 20, 1, 1, 64}, table, 0, RopeDirection::forward, qkv);
}

}  // namespace
}  // namespace trident
