#include "parallel/data/tree_sum.h"

#include <gtest/gtest.h>

#include "core/cuda_devices.h"
#include "core/error.h"
#include "core/memory.h"
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

class TreeSumOnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_names().empty()) GTEST_SKIP() << "no GPU";
    gpu = Stream::cuda(0);
  }

  /// The terms lie `offset` elements into their memory; the sum is the GPU's, in `out` or in the first term's place.
  template <class T>
  std::vector<T> tree_sum(const TreeSum& sum, std::vector<std::vector<T>> terms, int64_t offset, bool in_place) {
    const auto count = static_cast<int64_t>(terms[0].size());
    std::vector<Tensor> tensors(terms.size() + 1);
    for (Tensor& tensor : tensors) {
      tensor = allocate_zeroed(gpu.device(), {count + offset}, DTypeOf<T>::value).flat_view(offset, {count});
    }
    std::vector<const std::byte*> sources;
    for (size_t t = 0; t < terms.size(); ++t) {
      copy(gpu, Tensor::borrow(terms[t].data(), {count}, DTypeOf<T>::value), tensors[t]);
      sources.push_back(static_cast<const std::byte*>(tensors[t].raw()));
    }
    const Tensor& out = in_place ? tensors.front() : tensors.back();
    sum.run(gpu, DTypeOf<T>::value, sources, count, static_cast<std::byte*>(out.raw()));
    std::vector<T> result(terms[0].size());
    copy(gpu, out, Tensor::borrow(result.data(), {count}, DTypeOf<T>::value));
    gpu.synchronize();
    return result;
  }

  Stream gpu = Stream::meta();
};

TEST_F(TreeSumOnGpu, HasTheBitsOfTheTree) {
  for (const int shards : {1, 2, 3, 4, 5, 7, 8, 13, 19, 64, 100}) {
    std::vector<ShardRun> leaves;
    leaves.reserve(static_cast<size_t>(shards));
    for (int shard = 0; shard < shards; ++shard) leaves.push_back({shard, shard + 1});
    const TreeSum sum(ReductionTree(shards), leaves);
    for (const int64_t count : {0, 1, 3, 1025, 4097}) {
      const auto floats = made_up<float>(leaves.size(), count);
      const auto doubles = made_up<double>(leaves.size(), count);
      const auto float_sum = reference_tree_sum(floats, 0, leaves.size());
      const auto double_sum = reference_tree_sum(doubles, 0, leaves.size());
      for (const int64_t offset : {0, 1}) {
        for (const bool in_place : {false, true}) {
          ASSERT_EQ(tree_sum(sum, floats, offset, in_place), float_sum) << shards << " shards, " << count;
          ASSERT_EQ(tree_sum(sum, doubles, offset, in_place), double_sum) << shards << " shards, " << count;
        }
      }
    }
  }
}

TEST_F(TreeSumOnGpu, SumsInnerNodes) {
  const TreeSum sum(ReductionTree(5), {{0, 2}, {2, 4}, {4, 5}});
  const auto terms = made_up<float>(3, 5000);
  std::vector<float> expected(5000);
  for (size_t i = 0; i < expected.size(); ++i) expected[i] = (terms[0][i] + terms[1][i]) + terms[2][i];
  EXPECT_EQ(tree_sum(sum, terms, 0, false), expected);
}

TEST_F(TreeSumOnGpu, RefusesMoreSourcesThanItTakes) {
  std::vector<ShardRun> leaves;
  leaves.reserve(129);
  for (int shard = 0; shard < 129; ++shard) leaves.push_back({shard, shard + 1});
  EXPECT_THROW(tree_sum(TreeSum(ReductionTree(129), leaves), made_up<float>(129, 4), 0, false), Error);
}

}  // namespace
}  // namespace trident
