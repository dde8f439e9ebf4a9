#include "data/permutation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "core/error.h"

namespace trident {
namespace {

std::vector<int64_t> order(int64_t size, uint64_t seed, uint64_t epoch, uint64_t stream = 0) {
  const Permutation permutation(size, seed, stream, epoch);
  std::vector<int64_t> places;
  for (int64_t i = 0; i < size; ++i) places.push_back(permutation(i));
  return places;
}

/// Chi-square of counts against the uniform, as standard deviations from its mean.
double chi_square_deviations(const std::vector<int64_t>& counts) {
  const double expected = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0})) /
                          static_cast<double>(counts.size());
  double chi = 0;
  for (const int64_t count : counts) chi += std::pow(static_cast<double>(count) - expected, 2) / expected;
  const double degrees = static_cast<double>(counts.size()) - 1;
  return (chi - degrees) / std::sqrt(2 * degrees);
}

TEST(Permutation, IsBijectiveForEverySize) {
  std::vector<int64_t> sizes{255, 256, 257, 1000, 4095, 4096, 4097, 65537, 100003};
  for (int64_t size = 1; size <= 130; ++size) sizes.push_back(size);
  for (const int64_t size : sizes) {
    auto places = order(size, 1234, 5);
    std::sort(places.begin(), places.end());
    for (int64_t i = 0; i < size; ++i) ASSERT_EQ(places[static_cast<size_t>(i)], i) << size;
  }
}

TEST(Permutation, LargeDomainsStayInRangeWithoutCollisions) {
  for (const int64_t size : {(int64_t{1} << 40) + 1, int64_t{1} << 40, int64_t{1} << 62}) {
    const Permutation permutation(size, 7, 0, 3);
    std::set<int64_t> seen;
    for (int64_t i = 0; i < 20000; ++i) {
      const int64_t place = permutation(i < 10000 ? i : size - 1 - i);
      ASSERT_GE(place, 0);
      ASSERT_LT(place, size);
      ASSERT_TRUE(seen.insert(place).second);
    }
  }
}

TEST(Permutation, DependsOnSeedStreamAndEpochAlone) {
  const auto base = order(1000, 1, 0);
  EXPECT_EQ(base, order(1000, 1, 0));
  EXPECT_NE(base, order(1000, 2, 0));
  EXPECT_NE(base, order(1000, 1 + (uint64_t{1} << 32), 0));
  EXPECT_NE(base, order(1000, 1, 1));
  EXPECT_NE(base, order(1000, 1, uint64_t{1} << 32));
  EXPECT_NE(base, order(1000, 1, 0, 1));
}

TEST(Permutation, EveryPlaceIsEquallyLikely) {
  for (const int64_t size : {3, 10, 37, 100}) {
    std::vector<int64_t> counts(static_cast<size_t>(size * size));
    for (uint64_t epoch = 0; epoch < 20000; ++epoch) {
      const Permutation permutation(size, 99, 0, epoch);
      for (int64_t i = 0; i < size; ++i) ++counts[static_cast<size_t>(i * size + permutation(i))];
    }
    EXPECT_LT(std::abs(chi_square_deviations(counts)), 5) << size;
  }
}

TEST(Permutation, AllOrdersOfFourAreEquallyLikely) {
  std::map<std::vector<int64_t>, int64_t> seen;
  for (uint64_t epoch = 0; epoch < 24000; ++epoch) ++seen[order(4, 5, epoch)];
  ASSERT_EQ(seen.size(), 24U);
  std::vector<int64_t> counts;
  counts.reserve(seen.size());
  for (const auto& [places, count] : seen) counts.push_back(count);
  EXPECT_LT(std::abs(chi_square_deviations(counts)), 5);
}

TEST(Permutation, NeighboursDoNotStayNeighbours) {
  const int64_t size = 100000;
  const auto places = order(size, 11, 0);
  std::vector<int64_t> steps(100);
  for (size_t i = 1; i < places.size(); ++i) {
    ++steps[static_cast<size_t>((places[i] - places[i - 1] + size) % size * 100 / size)];
  }
  EXPECT_LT(std::abs(chi_square_deviations(steps)), 5);
}

// A run that resumes, or is repeated in years to come, must find its samples where they were.
TEST(Permutation, OrderIsAPromise) {
  EXPECT_EQ(order(10, 1234, 0), (std::vector<int64_t>{2, 1, 6, 4, 5, 7, 0, 3, 8, 9}));
  EXPECT_EQ(Permutation(int64_t{1} << 40, 1234, 1, 2)(3), 396177552223);
}

TEST(Permutation, RefusesWhatIsOutside) {
  EXPECT_THROW(Permutation(0, 1, 0, 0), Error);
  EXPECT_THROW(Permutation(5, 1, 0, 0)(5), Error);
  EXPECT_THROW(Permutation(5, 1, 0, 0)(-1), Error);
}

}  // namespace
}  // namespace trident
