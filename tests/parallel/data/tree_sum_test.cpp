#include "parallel/data/tree_sum.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/parallel/data/toy_model.h"

namespace trident {
namespace {

using namespace testing;

constexpr int64_t kCounts[] = {0, 1, 1023, 1025, 40001};

template <class T>
std::vector<std::vector<T>> made_up(size_t vectors, int64_t count) {
  std::vector<std::vector<T>> result(vectors, std::vector<T>(static_cast<size_t>(count)));
  for (size_t v = 0; v < vectors; ++v) {
    for (int64_t i = 0; i < count; ++i) {
      result[v][static_cast<size_t>(i)] = static_cast<T>(MadeUpGradient{1}(static_cast<int>(v), 0, i));
    }
  }
  return result;
}

template <class T>
std::vector<T> tree_sum(const TreeSum& sum, const std::vector<std::vector<T>>& terms, int threads) {
  std::vector<const std::byte*> sources;
  sources.reserve(terms.size());
  for (const auto& term : terms) sources.push_back(reinterpret_cast<const std::byte*>(term.data()));
  std::vector<T> out(terms[0].size());
  sum.run(Stream::cpu(threads), DTypeOf<T>::value, sources, static_cast<int64_t>(out.size()),
          reinterpret_cast<std::byte*>(out.data()));
  return out;
}

TEST(TreeSum, FollowsTheTree) {
  for (int shards = 1; shards <= 19; ++shards) {
    std::vector<ShardRun> leaves;
    leaves.reserve(static_cast<size_t>(shards));
    for (int shard = 0; shard < shards; ++shard) leaves.push_back({shard, shard + 1});
    const TreeSum sum(ReductionTree(shards), leaves);
    for (const int64_t count : kCounts) {
      const auto floats = made_up<float>(leaves.size(), count);
      const auto doubles = made_up<double>(leaves.size(), count);
      for (const int threads : {1, 3}) {
        ASSERT_EQ(tree_sum(sum, floats, threads), reference_tree_sum(floats, 0, leaves.size()));
        ASSERT_EQ(tree_sum(sum, doubles, threads), reference_tree_sum(doubles, 0, leaves.size()));
      }
    }
  }
}

// Or else no test here could tell the tree from any other order.
TEST(TreeSum, AnotherOrderHasOtherBits) {
  const auto terms = made_up<float>(8, 1000);
  std::vector<float> in_order = terms[0];
  for (size_t t = 1; t < terms.size(); ++t) {
    for (size_t i = 0; i < in_order.size(); ++i) in_order[i] += terms[t][i];
  }
  EXPECT_NE(in_order, reference_tree_sum(terms, 0, 8));
}

TEST(TreeSum, MayEndInOneOfItsSources) {
  const TreeSum sum(ReductionTree(5), {{0, 2}, {2, 4}, {4, 5}});
  auto terms = made_up<float>(3, 5000);
  std::vector<float> expected(5000);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = (terms[0][i] + terms[1][i]) + terms[2][i];
  std::vector<const std::byte*> sources;
  sources.reserve(terms.size());
  for (const auto& term : terms) sources.push_back(reinterpret_cast<const std::byte*>(term.data()));
  sum.run(Stream::cpu(2), DType::fp32, sources, 5000, reinterpret_cast<std::byte*>(terms[2].data()));
  EXPECT_EQ(terms[2], expected);
}

TEST(TreeSum, RefusesNodesThatAreNotTheWholeTree) {
  EXPECT_THROW(TreeSum(ReductionTree(4), {{0, 2}}), Error);
  EXPECT_THROW(TreeSum(ReductionTree(4), {{0, 2}, {3, 4}}), Error);
  EXPECT_THROW(TreeSum(ReductionTree(4), {{0, 1}, {1, 3}, {3, 4}}), Error);  // [1, 3) is no node
}

}  // namespace
}  // namespace trident
