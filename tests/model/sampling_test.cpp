#include "model/sampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "core/error.h"

namespace trident {
namespace {

const std::vector<double> kLogits = {0.0, std::log(4.0), std::log(2.0), std::log(1.0)};  // 1/8, 4/8, 2/8, 1/8

std::map<int32_t, int> histogram(const SamplingOptions& options, int draws) {
  std::map<int32_t, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[sample_token(kLogits, options, static_cast<uint64_t>(i))];
  return counts;
}

TEST(Sampling, FollowsTheDistribution) {
  const auto counts = histogram({.seed = 1}, 8000);
  EXPECT_NEAR(counts.at(1), 4000, 150);
  EXPECT_NEAR(counts.at(2), 2000, 130);
  EXPECT_NEAR(counts.at(0), 1000, 110);
}

TEST(Sampling, TemperatureZeroIsGreedy) {
  EXPECT_EQ(histogram({.temperature = 0}, 10), (std::map<int32_t, int>{{1, 10}}));
}

TEST(Sampling, TopKAndTopPCutTheTail) {
  EXPECT_EQ(histogram({.top_k = 2, .seed = 3}, 500).size(), 2u);
  EXPECT_EQ(histogram({.top_k = 1, .seed = 3}, 50).size(), 1u);
  EXPECT_EQ(histogram({.top_p = 0.5, .seed = 3}, 50).size(), 1u);
  EXPECT_EQ(histogram({.top_p = 0.7, .seed = 3}, 500).size(), 2u);
}

TEST(Sampling, IsAFunctionOfSeedAndPosition) {
  int differs = 0;
  for (uint64_t position = 0; position < 100; ++position) {
    const int32_t token = sample_token(kLogits, {.seed = 5}, position);
    EXPECT_EQ(token, sample_token(kLogits, {.seed = 5}, position));
    differs += token != sample_token(kLogits, {.seed = 6}, position) ? 1 : 0;
  }
  EXPECT_GT(differs, 10);
}

TEST(Sampling, RefusesNonsense) {
  EXPECT_THROW((void)sample_token(kLogits, {.temperature = -1}, 0), Error);
  EXPECT_THROW((void)sample_token(kLogits, {.temperature = std::nan("")}, 0), Error);
  EXPECT_THROW((void)sample_token(kLogits, {.top_k = -1}, 0), Error);
  EXPECT_THROW((void)sample_token(kLogits, {.top_p = 0}, 0), Error);
  const std::vector<double> broken = {0.0, std::numeric_limits<double>::quiet_NaN()};
  EXPECT_THROW((void)sample_token(broken, {}, 0), Error);
}

}  // namespace
}  // namespace trident
