#include "parallel/pipeline/stage_cut.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>

#include "core/error.h"

namespace trident::pipeline {
namespace {

using testing::ElementsAre;

double dearest(const LayerCosts& costs, const std::vector<int32_t>& cut) {
  const std::vector<double> stages = stage_costs(costs, cut);
  return *std::max_element(stages.begin(), stages.end());
}

// Every cut, by recursion.
double smallest_of_all(const LayerCosts& costs, std::vector<int32_t>& cut, int32_t left, int32_t stages) {
  if (stages == 1) {
    cut.push_back(left);
    const double result = dearest(costs, cut);
    cut.pop_back();
    return result;
  }
  double best = std::numeric_limits<double>::infinity();
  for (int32_t n = 1; n <= left - stages + 1; ++n) {
    cut.push_back(n);
    best = std::min(best, smallest_of_all(costs, cut, left - n, stages - 1));
    cut.pop_back();
  }
  return best;
}

TEST(StageCut, EqualLayersAreCutEvenly) {
  EXPECT_THAT(cut_stages({0, std::vector<double>(12, 1), 0}, 4), ElementsAre(3, 3, 3, 3));
  const auto cut = cut_stages({0, std::vector<double>(10, 1), 0}, 4);
  EXPECT_EQ(*std::max_element(cut.begin(), cut.end()), 3);
  EXPECT_EQ(*std::min_element(cut.begin(), cut.end()), 2);
}

TEST(StageCut, EmbeddingAndHeadTakeLayersAway) {
  EXPECT_THAT(cut_stages({1, std::vector<double>(14, 1), 1}, 4), ElementsAre(3, 4, 4, 3));
  const auto cut = cut_stages({0, std::vector<double>(12, 1), 3}, 3);
  EXPECT_THAT(cut, ElementsAre(5, 5, 2));
}

TEST(StageCut, IsTheBestOfAll) {
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    LayerCosts costs{static_cast<double>(random() % 8), std::vector<double>(1 + random() % 11),
                     static_cast<double>(random() % 20)};
    for (double& cost : costs.layers) cost = static_cast<double>(random() % 10);
    const auto layers = static_cast<int32_t>(costs.layers.size());
    const int32_t stages = 1 + static_cast<int32_t>(random() % costs.layers.size());
    const auto cut = cut_stages(costs, stages);
    EXPECT_NO_THROW(check_stage_cut(cut, layers, stages));
    std::vector<int32_t> empty;
    EXPECT_DOUBLE_EQ(dearest(costs, cut), smallest_of_all(costs, empty, layers, stages));
  }
}

TEST(StageCut, RoundingDoesNotLoseACut) {
  std::mt19937 random(8);
  std::uniform_real_distribution<double> cost(0.1, 1.7);
  for (int round = 0; round < 200; ++round) {
    LayerCosts costs{cost(random), std::vector<double>(40), cost(random) * 9};
    for (double& layer : costs.layers) layer = cost(random);
    for (const int32_t stages : {1, 3, 7, 39, 40})
      EXPECT_NO_THROW(check_stage_cut(cut_stages(costs, stages), 40, stages));
  }
}

TEST(StageCut, RefusesWhatCannotBeCut) {
  EXPECT_THROW((void)cut_stages({0, {1, 1}, 0}, 3), Error);
  EXPECT_THROW((void)cut_stages({0, {1, 1}, 0}, 0), Error);
  EXPECT_THROW((void)cut_stages({0, {}, 0}, 1), Error);
  EXPECT_THROW((void)cut_stages({0, {1, -1}, 0}, 1), Error);
  EXPECT_THROW((void)cut_stages({std::numeric_limits<double>::quiet_NaN(), {1, 1}, 0}, 1), Error);
  EXPECT_THROW((void)cut_stages({0, std::vector<double>(1'000'000, 1), 0}, 2), Error);
}

TEST(StageCut, ChecksTheUsersCut) {
  const std::vector<int32_t> cut = {3, 4, 4, 3}, empty_stage = {7, 0, 4, 3}, overflow = {2147483647, 2147483647, 16, 1};
  EXPECT_NO_THROW(check_stage_cut(cut, 14, 4));
  EXPECT_THROW(check_stage_cut(cut, 15, 4), Error);
  EXPECT_THROW(check_stage_cut(cut, 14, 3), Error);
  EXPECT_THROW(check_stage_cut(empty_stage, 14, 4), Error);
  EXPECT_THROW(check_stage_cut(overflow, 14, 4), Error);
}

}  // namespace
}  // namespace trident::pipeline
