#include "core/philox.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace trident {
namespace {

using Words = std::array<uint32_t, 4>;

// Known answers published with the generator's authors' Random123 library.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, AnElementDoesNotDependOnHowItIsAskedFor) {
  const RandomStream stream(7, "layers.0.mlp.up.weight");
  std::vector<float> whole(103);
  stream.normal(0, whole);
  for (const size_t first : {1u, 2u, 3u, 50u}) {
    std::vector<float> part(17);
    stream.normal(first, part);
    for (size_t i = 0; i < part.size(); ++i) EXPECT_EQ(part[i], whole[first + i]);
  }
}

TEST(RandomStream, SeedsAndNamesGiveOtherNumbers) {
  EXPECT_NE(RandomStream(1, "a").block(0), RandomStream(2, "a").block(0));
  EXPECT_NE(RandomStream(1, "a").block(0), RandomStream(1, "b").block(0));
  EXPECT_NE(RandomStream(1, "a").block(0), RandomStream(1ull << 32 | 1, "a").block(0));
}

TEST(RandomStream, NormalsHaveTheMomentsOfANormal) {
  std::vector<float> sample(1 << 20);
  RandomStream(3, "moments").normal(12345, sample);
  double mean = 0, square = 0, fourth = 0;
  for (const double x : sample) {
    mean += x;
    square += x * x;
    fourth += x * x * x * x;
  }
  const auto n = static_cast<double>(sample.size());
  EXPECT_NEAR(mean / n, 0.0, 0.005);
  EXPECT_NEAR(square / n, 1.0, 0.007);
  EXPECT_NEAR(fourth / n, 3.0, 0.05);
}

TEST(RandomStream, UniformsLieInTheUnitInterval) {
  const RandomStream stream(3, "uniform");
  double sum = 0;
  for (uint64_t i = 0; i < 10000; ++i) {
    const double x = stream.uniform(i);
    ASSERT_GE(x, 0.0);
    ASSERT_LT(x, 1.0);
    sum += x;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.02);
}

}  // namespace
}  // namespace trident
