#include "parallel/data/shard_accumulator.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "tests/parallel/data/toy_model.h"

namespace trident {
namespace {

using namespace testing;

/// One shard after another through the accumulator, in two ranges that take turns.
void accumulate(ShardAccumulator& accumulator, ParameterStorage& storage, const MadeUpGradient& gradient,
                ShardRun run) {
  const Stream stream = Stream::cpu(2);
  const int64_t elements = storage.grads().elements();
  for (int shard = run.begin; shard < run.end; ++shard) {
    for (int m = 0; m < microbatches_of(shard); ++m) add_microbatch(storage, gradient, shard, m);
    accumulator.finish_shard(stream, {1024, elements}, shard);
    accumulator.finish_shard(stream, {0, 1024}, shard);
  }
}

TEST(ShardAccumulator, PiecesAreTheSubtreesOfTheRun) {
  const MadeUpGradient gradient{3};
  for (const int shards : {1, 2, 5, 8, 11}) {
    ToyModel model(DType::fp32);
    ParameterStorage& storage = model.storage();
    const auto by_shard = shard_gradients<float>(storage, gradient, shards);
    for (int begin = 0; begin < shards; ++begin) {
      for (int end = begin + 1; end <= shards; ++end) {
        const ReductionTree tree(shards);
        ShardAccumulator accumulator(tree, {begin, end}, storage.grads());
        EXPECT_EQ(accumulator.buffers(), static_cast<size_t>(tree.buffers({begin, end})));
        for (int step = 0; step < 2; ++step) {  // what the first leaves in the buffers must not matter
          storage.zero_gradients(Stream::cpu(1));
          accumulate(accumulator, storage, gradient, {begin, end});
        }
        ASSERT_EQ(accumulator.nodes(), tree.subtrees({begin, end}));
        for (size_t i = 0; i < accumulator.nodes().size(); ++i) {
          const ShardRun node = accumulator.nodes()[i];
          ASSERT_EQ(values<float>(accumulator.pieces()[i]),
                    reference_tree_sum(by_shard, static_cast<size_t>(node.begin), static_cast<size_t>(node.end)));
        }
      }
    }
  }
}

TEST(ShardAccumulator, OneShardNeedsNoMemory) {
  ToyModel model(DType::fp64);
  ShardAccumulator accumulator(ReductionTree(4), {2, 3}, model.storage().grads());
  EXPECT_EQ(accumulator.buffers(), 1u);
  EXPECT_EQ(accumulator.pieces()[0].raw(), model.storage().grads().raw());
}

TEST(ShardAccumulator, NoShardsNoPieces) {
  ToyModel model(DType::fp32);
  ShardAccumulator accumulator(ReductionTree(4), {4, 4}, model.storage().grads());
  EXPECT_TRUE(accumulator.pieces().empty());
  EXPECT_THROW(accumulator.finish_shard(Stream::cpu(1), {0, 64}, 3), Error);
}

}  // namespace
}  // namespace trident
