#include "checkpoint/digest.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <set>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace trident {
namespace {

template <class T>
constexpr DType kDType = std::is_same_v<T, uint32_t> ? DType::fp32 : DType::fp64;

template <class T>
std::vector<T> random_bits(int64_t count, uint32_t seed = 1) {
  std::mt19937_64 engine(seed);
  std::vector<T> bits(static_cast<size_t>(count));
  for (T& word : bits) word = static_cast<T>(engine());
  return bits;
}

/// The formula, plainly.
template <class T>
uint64_t expected_digest(const std::vector<T>& bits) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bits.size(); ++i) {
    uint64_t x = bits[i] ^ i * 0x9e3779b97f4a7c15ULL;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
    sum += x ^ x >> 31;
  }
  return sum;
}

template <class T>
uint64_t whole(const std::vector<T>& bits, const Shape& shape) {
  const LogicalBlock block = whole_block(shape);
  return digest_of(std::as_bytes(std::span(bits)), kDType<T>, block, block.columns);
}

template <class T>
uint64_t of_vector(const std::vector<T>& bits) {
  return whole(bits, {std::ssize(bits)});
}

template <class T>
class Digest : public ::testing::Test {};
using Bits = ::testing::Types<uint32_t, uint64_t>;
TYPED_TEST_SUITE(Digest, Bits);

TYPED_TEST(Digest, IsTheSumOfTheFormulaForEveryLength) {
  for (int64_t count = 0; count < 100; ++count) {
    const auto bits = random_bits<TypeParam>(count);
    EXPECT_EQ(of_vector(bits), expected_digest(bits)) << count;
  }
  const auto bits = random_bits<TypeParam>(12'345);
  EXPECT_EQ(whole(bits, {5, 2469}), expected_digest(bits));
}

TYPED_TEST(Digest, IsTheSameOnEveryCpu) {
  const auto bits = random_bits<TypeParam>(1'003);
  const uint64_t expected = expected_digest(bits);
  const auto under = [&](int64_t targets) {
    hwy::GetChosenTarget().Update(targets);
    return of_vector(bits);
  };
  EXPECT_EQ(under(0), expected);  // what every CPU can do
  for (const int64_t target : hwy::SupportedAndGeneratedTargets())
    EXPECT_EQ(under(target), expected) << hwy::TargetName(target);
  hwy::GetChosenTarget().DeInit();
}

TYPED_TEST(Digest, AnyShardingSumsToTheSame) {
  const Shape shape{37, 53};
  const auto bits = random_bits<TypeParam>(shape.elements());
  std::mt19937 engine(2);
  for (int round = 0; round < 50; ++round) {
    // Columns as tensor parallelism cuts them, and each part into flat runs as ZeRO does.
    const int64_t cut = engine() % 54;
    uint64_t sum = 0;
    for (const LogicalBlock& part : {LogicalBlock{0, 37, 0, cut}, LogicalBlock{0, 37, cut, 53 - cut}}) {
      std::vector<TypeParam> local;
      for (int64_t row = 0; row < part.rows; ++row)
        local.insert(local.end(), bits.begin() + row * 53 + part.column0,
                     bits.begin() + row * 53 + part.column0 + part.columns);
      for (int64_t begin = 0; begin < part.elements();) {
        const int64_t count = std::min<int64_t>(part.elements() - begin, 1 + engine() % 400);
        const auto run =
            std::as_bytes(std::span(local).subspan(static_cast<size_t>(begin), static_cast<size_t>(count)));
        const uint64_t flat = digest_of(run, kDType<TypeParam>, part, 53, begin, count);
        uint64_t by_rectangles = 0;
        size_t at = 0;
        for (const LogicalBlock& block : rectangles_of(part, begin, count)) {
          const size_t bytes = static_cast<size_t>(block.elements()) * sizeof(TypeParam);
          by_rectangles += digest_of(run.subspan(at, bytes), kDType<TypeParam>, block, 53);
          at += bytes;
        }
        EXPECT_EQ(flat, by_rectangles);
        sum += flat;
        begin += count;
      }
    }
    EXPECT_EQ(sum, whole(bits, shape));
  }
}

TYPED_TEST(Digest, EveryFlippedBitChangesIt) {
  auto bits = random_bits<TypeParam>(300);
  std::set<uint64_t> seen = {of_vector(bits)};
  for (TypeParam& word : bits) {
    for (size_t bit = 0; bit < sizeof(TypeParam) * 8; ++bit) {
      word ^= TypeParam{1} << bit;
      EXPECT_TRUE(seen.insert(of_vector(bits)).second);
      word ^= TypeParam{1} << bit;
    }
  }
}

TYPED_TEST(Digest, EverySwapAndEveryPairOfFlippedSignsChangesIt) {
  constexpr TypeParam kSign = TypeParam{1} << (sizeof(TypeParam) * 8 - 1);
  auto bits = random_bits<TypeParam>(120);
  std::set<uint64_t> seen = {of_vector(bits)};
  for (size_t i = 0; i < bits.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      std::swap(bits[i], bits[j]);
      EXPECT_TRUE(seen.insert(of_vector(bits)).second) << i << " and " << j << " swapped";
      std::swap(bits[i], bits[j]);
      bits[i] ^= kSign;
      bits[j] ^= kSign;
      EXPECT_TRUE(seen.insert(of_vector(bits)).second) << "signs of " << i << " and " << j;
      bits[i] ^= kSign;
      bits[j] ^= kSign;
    }
  }
}

TYPED_TEST(Digest, ZerosNegativeZerosAndShiftsDiffer) {
  constexpr TypeParam kSign = TypeParam{1} << (sizeof(TypeParam) * 8 - 1);
  const std::vector<TypeParam> zeros(64), negative(64, kSign);
  EXPECT_NE(of_vector(zeros), of_vector(negative));
  EXPECT_NE(of_vector(zeros), of_vector(std::vector<TypeParam>(65)));
  auto rotated = random_bits<TypeParam>(64);
  const uint64_t before = of_vector(rotated);
  std::rotate(rotated.begin(), rotated.begin() + 8, rotated.end());
  EXPECT_NE(of_vector(rotated), before);
}

TYPED_TEST(Digest, ValuesMayLieAnywhere) {
  const auto bits = random_bits<TypeParam>(77);
  std::vector<std::byte> shifted(bits.size() * sizeof(TypeParam) + 1);
  std::memcpy(shifted.data() + 1, bits.data(), shifted.size() - 1);
  EXPECT_EQ(digest_of(std::span(shifted).subspan(1), kDType<TypeParam>, whole_block({77}), 1), of_vector(bits));
}

}  // namespace
}  // namespace trident
