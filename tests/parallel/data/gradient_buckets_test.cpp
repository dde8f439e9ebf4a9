#include "parallel/data/gradient_buckets.h"

#include <gtest/gtest.h>

#include <cstring>

#include "core/error.h"
#include "parallel/comm/threads/thread_ranks.h"
#include "tests/parallel/data/toy_model.h"

namespace trident {
namespace {

using namespace testing;

constexpr int kWidths[] = {1, 2, 3, 4, 5, 8};

/// Whether ranks reach the gradients of one another: what lies there is read in place, other memory is copied.
enum class Reach {
  all,        ///< threads of one process
  gradients,  ///< processes with gradients in shared memory; the buffers of finished subtrees are private
  nothing,
};
constexpr Reach kReaches[] = {Reach::all, Reach::gradients, Reach::nothing};

struct Case {
  DType compute = DType::fp32;
  int shards = 8;
  int64_t bucket = 1000;
  ReductionKind kind = ReductionKind::exact;
  Reach reach = Reach::all;
};

ThreadRanksOptions options_of(const Case& c) {
  ThreadRanksOptions options;
  options.private_memory = c.reach != Reach::all;
  return options;
}

GradientBuckets make_buckets(const Communicator& dp, ToyModel& model, const Case& c, const Tensor& grads) {
  return {dp,
          c.kind,
          ReductionTree(c.shards),
          FlatPartition(grads.elements(), dp.size(), c.bucket),
          spans_of(model.groups(), grads.elements()),
          grads};
}

GradientBuckets make_buckets(const Communicator& dp, ToyModel& model, const Case& c) {
  return make_buckets(dp, model, c, model.storage().grads());
}

/// One step of backward passes into `grads`, groups finished last to first.
void backward(const Stream& stream, ToyModel& model, GradientBuckets& buckets, const MadeUpGradient& gradient,
              const Tensor& grads) {
  std::memset(grads.raw(), 0, grads.bytes());
  for (int shard = buckets.shards().begin; shard < buckets.shards().end; ++shard) {
    for (int m = 0; m < microbatches_of(shard); ++m) add_microbatch(model.storage(), gradient, shard, m, grads);
    for (size_t group = model.groups().size(); group-- > 0;) {
      buckets.ready(stream, group);
      buckets.progress();
    }
  }
  buckets.finish(stream);
}

/// Every rank's gradients after reduction and gathering, in two steps.
template <class T>
void expect_tree_sums(int ranks, const Case& c) {
  const auto rank_main = [&](const Communicator& world) {
    ToyModel model(c.compute);
    const Tensor own = model.storage().grads();
    const Tensor grads = c.reach == Reach::gradients ? world.allocate_shared(own.shape(), own.dtype()) : own;
    GradientBuckets buckets = make_buckets(world, model, c, grads);
    for (const uint64_t step : {1, 2}) {
      const MadeUpGradient gradient{step};
      backward(Stream::cpu(1), model, buckets, gradient, grads);
      buckets.gather();
      const auto by_shard = shard_gradients<T>(model.storage(), gradient, c.shards);
      TRIDENT_CHECK(values<T>(grads) == reference_tree_sum(by_shard, 0, by_shard.size()),
                    "the sums are not those of the tree");
    }
  };
  run_ranks(ranks, rank_main, options_of(c));
}

TEST(GradientBuckets, ExactSumsFollowTheTreeForAnyNumberOfRanks) {
  for (const Reach reach : kReaches) {
    for (const int shards : {8, 5, 1, 13}) {
      for (const int ranks : kWidths) {
        SCOPED_TRACE(std::to_string(shards) + " shards, " + std::to_string(ranks) + " ranks, reach " +
                     std::to_string(static_cast<int>(reach)));
        for (const int64_t bucket : {1, 1000, 1 << 20}) {
          EXPECT_NO_THROW(expect_tree_sums<float>(ranks, {DType::fp32, shards, bucket, ReductionKind::exact, reach}))
              << "buckets of " << bucket;
        }
        EXPECT_NO_THROW(expect_tree_sums<double>(ranks, {DType::fp64, shards, 2000, ReductionKind::exact, reach}));
      }
    }
  }
}

TEST(GradientBuckets, FastSumsAreRightToRounding) {
  for (const int ranks : kWidths) {
    for (const int64_t bucket : {500, 1 << 20}) {
      const Case c{DType::fp32, 8, bucket, ReductionKind::fast};
      run_ranks(ranks, [&](const Communicator& world) {
        ToyModel model(c.compute);
        GradientBuckets buckets = make_buckets(world, model, c);
        EXPECT_EQ(buckets.buffers(), 1u);
        backward(Stream::cpu(1), model, buckets, {7}, model.storage().grads());
        buckets.gather();
        const auto by_shard = shard_gradients<double>(model.storage(), {7}, c.shards);
        const std::vector<double> expected = reference_tree_sum(by_shard, 0, by_shard.size());
        const std::vector<float> found = values<float>(model.storage().grads());
        for (size_t i = 0; i < found.size(); ++i) {
          TRIDENT_CHECK(std::abs(static_cast<double>(found[i]) - expected[i]) < 1e-3, std::to_string(i));
        }
      });
    }
  }
}

TEST(GradientBuckets, OneShardPerRankNeedsOneBuffer) {
  run_ranks(4, [](const Communicator& world) {
    ToyModel model(DType::fp32);
    EXPECT_EQ(make_buckets(world, model, {.shards = 4}).buffers(), 1u);
    EXPECT_LE(make_buckets(world, model, {.shards = 13}).buffers(), 3u);
  });
}

TEST(GradientBuckets, ScratchStaysWithinAFewBuckets) {
  run_ranks(3, [](const Communicator& world) {
    ToyModel model(DType::fp32);
    const Case c{.shards = 3, .bucket = 192};
    // Two buckets under way, of each at most one part from every rank.
    EXPECT_LE(make_buckets(world, model, c).scratch_bytes(), 2 * 2 * 192 * sizeof(float));
  });
}

TEST(GradientBuckets, MissingAndSurplusShardsAreNoticed) {
  ToyModel model(DType::fp32);
  const Stream stream = Stream::cpu(1);
  GradientBuckets buckets = make_buckets(Communicator::self(), model, {.shards = 2});
  EXPECT_THROW(buckets.finish(stream), Error);
  for (size_t group = 0; group < model.groups().size(); ++group) {
    buckets.ready(stream, group);
    buckets.ready(stream, group);
    EXPECT_THROW(buckets.ready(stream, group), Error);
  }
  EXPECT_NO_THROW(buckets.finish(stream));
}

TEST(GradientBuckets, GroupsMustCoverTheGradients) {
  ToyModel model(DType::fp32);
  const Tensor grads = model.storage().grads();
  const FlatPartition partition(grads.elements(), 1, 64);
  EXPECT_THROW(
      GradientBuckets(Communicator::self(), ReductionKind::exact, ReductionTree(1), partition, {{0, 64}}, grads),
      Error);
}

}  // namespace
}  // namespace trident
