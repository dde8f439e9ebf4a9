#include "data/mixture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"

namespace trident {
namespace {

/// Walks `samples` picks: indexes must count up per source and counts must stay within one of their shares.
void expect_fair(const Mixture& mixture, const std::vector<double>& shares, int64_t samples) {
  std::vector<int64_t> counts(shares.size(), 0);
  for (int64_t g = 0; g < samples; ++g) {
    const auto [source, index] = mixture.at(g);
    ASSERT_EQ(index, counts[static_cast<size_t>(source)]++) << g;
    for (size_t i = 0; i < shares.size(); ++i) {
      ASSERT_LT(std::abs(static_cast<double>(counts[i]) - static_cast<double>(g + 1) * shares[i]), 1.0 + 1e-6)
          << "source " << i << " after " << g + 1;
    }
  }
}

std::vector<double> normalised(std::vector<double> weights) {
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (double& weight : weights) weight /= sum;
  return weights;
}

TEST(Mixture, OneSourceIsTheIdentity) {
  const Mixture mixture(std::vector<double>{0.3});
  EXPECT_EQ(mixture.period(), 1);
  for (int64_t g : {int64_t{0}, int64_t{1}, int64_t{1} << 50}) {
    EXPECT_EQ(mixture.at(g).source, 0);
    EXPECT_EQ(mixture.at(g).index, g);
  }
}

TEST(Mixture, KeepsDecimalWeightsExactlyWithinOne) {
  const std::vector<std::vector<double>> cases{{1, 1},
                                               {0.8, 0.2},
                                               {0.5, 0.3, 0.2},
                                               {1, 1, 1},
                                               {0.333, 0.667},
                                               {0.99, 0.005, 0.005},
                                               {90, 1, 1, 1, 1, 1, 1, 1, 1, 2},
                                               {0.45, 0.45, 0.1},
                                               {7, 11, 13, 17, 19},
                                               {0.001, 0.999}};
  for (const auto& weights : cases) {
    const Mixture mixture(weights);
    expect_fair(mixture, normalised(weights), 3 * mixture.period() + 5);
  }
  EXPECT_EQ(Mixture(std::vector<double>{0.8, 0.2}).period(), 5);
}

TEST(Mixture, WeightsWithoutACommonDenominatorAreKeptClosely) {
  for (const std::vector<double>& weights :
       {std::vector<double>{M_PI, M_E, 1.0}, std::vector<double>{1e-9, 1.0}, std::vector<double>{M_SQRT2, 1}}) {
    const Mixture mixture(weights);
    std::vector<double> kept;
    for (size_t i = 0; i < weights.size(); ++i) {
      kept.push_back(mixture.weight(static_cast<int64_t>(i)));
      EXPECT_NEAR(kept[i], normalised(weights)[i], 1e-6);
      EXPECT_GT(kept[i], 0);
    }
    expect_fair(mixture, kept, 200000);
  }
}

TEST(Mixture, ManySources) {
  std::vector<double> weights;
  for (int i = 1; i <= 200; ++i) weights.push_back(1.0 / i);
  const Mixture mixture(weights);
  std::vector<double> kept;
  for (int64_t i = 0; i < 200; ++i) kept.push_back(mixture.weight(i));
  expect_fair(mixture, kept, 5000);
}

TEST(Mixture, FarAheadIsAsGoodAsNear) {
  const Mixture mixture(std::vector<double>{0.7, 0.2, 0.1});
  const int64_t far = int64_t{1} << 52;
  const auto [source, index] = mixture.at(far);
  EXPECT_NEAR(static_cast<double>(index), static_cast<double>(far) * mixture.weight(source), 1.5);
}

TEST(Mixture, RefusesWeightsThatMeanNothing) {
  for (const double weight : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity()}) {
    EXPECT_THROW(Mixture(std::vector<double>{1.0, weight}), Error) << weight;
  }
  EXPECT_THROW(Mixture(std::vector<double>{1e308, 1e308}), Error);
  EXPECT_THROW(Mixture(std::vector<double>(5000, 1.0)), Error);
}

}  // namespace
}  // namespace trident
