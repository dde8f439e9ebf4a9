#include "parallel/data/reduction_tree.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace trident {
namespace {

TEST(ShardsOf, CoverAllShardsInOrderAndDifferByOne) {
  for (int shards = 1; shards <= 20; ++shards) {
    for (int ranks = 1; ranks <= 24; ++ranks) {
      int next = 0;
      for (int rank = 0; rank < ranks; ++rank) {
        const ShardRun run = shards_of(rank, ranks, shards);
        EXPECT_EQ(run.begin, next);
        EXPECT_EQ(run.size(), shards / ranks + (rank < shards % ranks ? 1 : 0));
        next = run.end;
      }
      EXPECT_EQ(next, shards);
    }
  }
}

TEST(ReductionTree, SplitsAtTheLargestPowerOfTwoBelow) {
  EXPECT_EQ(ReductionTree::split({0, 2}), 1);
  EXPECT_EQ(ReductionTree::split({0, 5}), 4);
  EXPECT_EQ(ReductionTree::split({4, 7}), 6);
  EXPECT_EQ(ReductionTree::split({8, 16}), 12);
  EXPECT_THROW((void)ReductionTree::split({3, 4}), Error);
}

TEST(ReductionTree, SubtreesOfARunAreTheLargestNodesInIt) {
  const ReductionTree tree(11);
  EXPECT_EQ(tree.subtrees({0, 11}), (std::vector<ShardRun>{{0, 11}}));
  EXPECT_EQ(tree.subtrees({0, 7}), (std::vector<ShardRun>{{0, 4}, {4, 6}, {6, 7}}));
  EXPECT_EQ(tree.subtrees({3, 11}), (std::vector<ShardRun>{{3, 4}, {4, 8}, {8, 11}}));
  EXPECT_EQ(tree.subtrees({1, 8}), (std::vector<ShardRun>{{1, 2}, {2, 4}, {4, 8}}));
  EXPECT_TRUE(tree.subtrees({5, 5}).empty());
  EXPECT_THROW((void)tree.subtrees({5, 12}), Error);
}

TEST(ReductionTree, BuffersStayWithinTheirBounds) {
  for (int shards = 1; shards <= 70; ++shards) {
    const ReductionTree tree(shards);
    for (int begin = 0; begin < shards; ++begin) {
      for (int end = begin + 1; end <= shards; ++end) {
        const int k = end - begin;
        EXPECT_LE(tree.buffers({begin, end}), ReductionTree::max_buffers(k));
        EXPECT_LE(tree.subtrees({begin, end}).size(), static_cast<size_t>(tree.buffers({begin, end})));
        if (begin != 0) continue;
        int log2 = 0;
        while (1 << log2 < k) ++log2;
        EXPECT_LE(tree.buffers({begin, end}), log2 + 1);
      }
    }
  }
}

}  // namespace
}  // namespace trident
