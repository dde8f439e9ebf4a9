#include "parallel/data/sharded_optimizer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "parallel/comm/threads/thread_ranks.h"
#include "parallel/data/gradient_buckets.h"
#include "tests/parallel/data/toy_model.h"

namespace trident {
namespace {

using namespace testing;

constexpr int kSteps = 20;
constexpr AdamWOptions kOptions{0.9, 0.95, 1e-8, 0.1};

struct Case {
  int ranks = 1;
  int shards = 8;
  DType compute = DType::fp32;
  ZeroStage stage = ZeroStage::optimizer_state;
  int64_t bucket = 1500;
};

struct Outcome {
  std::vector<double> norms;
  std::vector<unsigned char> weights;
  bool operator==(const Outcome&) const = default;
};

double clip(double norm) { return norm > 1.0 ? 1.0 / norm : 1.0; }

Outcome train(const Communicator& dp, const Case& c) {
  const Stream stream = Stream::cpu(1);
  ToyModel model(c.compute);
  ParameterStorage& storage = model.storage();
  storage.initialize(42, stream);
  const FlatPartition partition(storage.grads().elements(), dp.size(), c.bucket);
  GradientBuckets buckets(dp, ReductionKind::exact, ReductionTree(c.shards), partition,
                          spans_of(model.groups(), partition.elements()), storage.grads());
  ShardedOptimizer optimizer(stream, storage, kOptions, {dp, c.stage, partition, {}, {}});
  Outcome outcome;
  for (int step = 1; step <= kSteps; ++step) {
    const MadeUpGradient gradient{static_cast<uint64_t>(step), c.compute == DType::bf16};
    storage.zero_gradients(stream);
    for (int shard = buckets.shards().begin; shard < buckets.shards().end; ++shard) {
      for (int m = 0; m < microbatches_of(shard); ++m) add_microbatch(storage, gradient, shard, m);
      for (size_t group = model.groups().size(); group-- > 0;) buckets.ready(stream, group);
    }
    buckets.finish(stream);
    outcome.norms.push_back(optimizer.gradient_norm(stream));
    if (c.stage == ZeroStage::replicated) buckets.gather();
    optimizer.step(stream, step, 1e-2, clip(outcome.norms.back()));
    // Layer by layer, as a forward pass would.
    for (const FlatSpan span : spans_of(model.groups(), partition.elements())) optimizer.wait_parameters(span);
  }
  outcome.weights = bits(storage.values());
  return outcome;
}

/// Runs the case; every rank must come to the same.
Outcome train(const Case& c) {
  std::vector<Outcome> outcomes(static_cast<size_t>(c.ranks));
  run_ranks(c.ranks, [&](const Communicator& world) { outcomes[static_cast<size_t>(world.rank())] = train(world, c); });
  for (const Outcome& outcome : outcomes) EXPECT_TRUE(outcome == outcomes[0]) << "ranks differ";
  return outcomes[0];
}

/// The same training with nothing of parallel/data but the shape of the tree: one AdamW pass over everything.
template <class T>
Outcome reference(int shards, DType compute) {
  const Stream stream = Stream::cpu(2);
  ToyModel model(compute);
  ParameterStorage& storage = model.storage();
  storage.initialize(42, stream);
  Tensor grads = storage.grads(), master = storage.master(), rounded;
  if (storage.values().raw() != master.raw()) rounded = storage.values();
  Tensor exp_avg(map_memory(grads.bytes()), 0, grads.shape(), grads.dtype());
  Tensor exp_avg_sq(map_memory(grads.bytes()), 0, grads.shape(), grads.dtype());
  std::vector<FlatRange> ranges;
  for (const Parameter* p : storage.parameters()) {
    ranges.push_back({p->flat_offset, p->flat_offset + p->local_shape().elements(), p->decays()});
  }
  Outcome outcome;
  for (int step = 1; step <= kSteps; ++step) {
    const MadeUpGradient gradient{static_cast<uint64_t>(step), compute == DType::bf16};
    const auto by_shard = shard_gradients<T>(storage, gradient, shards);
    const std::vector<T> sums = reference_tree_sum(by_shard, 0, by_shard.size());
    std::copy(sums.begin(), sums.end(), grads.data<T>());
    ExactSum squares;
    add_sums_of_squares(stream, grads, std::vector{FlatRange{0, grads.elements()}}, squares);
    double plain = 0;
    for (const T g : sums) plain += static_cast<double>(g) * static_cast<double>(g);
    outcome.norms.push_back(ShardedOptimizer(stream, storage, kOptions).gradient_norm(stream));
    EXPECT_NEAR(outcome.norms.back(), std::sqrt(plain), 1e-12 * std::sqrt(plain));
    const AdamWStep arguments{1e-2, 0.9, 0.95, 1e-8, 0.1, clip(outcome.norms.back()), step};
    adamw(stream, arguments, ranges, master, grads, exp_avg, exp_avg_sq, rounded);
  }
  outcome.weights = bits(storage.values());
  return outcome;
}

class AnyWidth : public ::testing::TestWithParam<DType> {};

TEST_P(AnyWidth, TrainsToTheSameBitsAsOneRank) {
  const DType compute = GetParam();
  for (const int shards : {8, 5}) {
    const Outcome expected =
        compute == DType::fp64 ? reference<double>(shards, compute) : reference<float>(shards, compute);
    for (const int ranks : {1, 2, 3, 4, 5, 8}) {
      for (const ZeroStage stage : {ZeroStage::replicated, ZeroStage::optimizer_state}) {
        EXPECT_TRUE(train({ranks, shards, compute, stage}) == expected)
            << shards << " shards, " << ranks << " ranks, ZeRO " << static_cast<int>(stage);
      }
    }
    // So few elements in a bucket, or so large buckets, that some ranks own nothing of the last.
    EXPECT_TRUE(train({8, shards, compute, ZeroStage::optimizer_state, 1}) == expected);
    EXPECT_TRUE(train({8, shards, compute, ZeroStage::optimizer_state, 1 << 20}) == expected);
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, AnyWidth, ::testing::Values(DType::fp32, DType::bf16, DType::fp64),
                         [](const auto& dtype) { return std::string(to_string(dtype.param)); });

TEST(ShardedOptimizer, AnotherNumberOfShardsHasOtherBits) {
  EXPECT_FALSE(reference<float>(8, DType::fp32) == reference<float>(5, DType::fp32));
}

TEST(ShardedOptimizer, RanksHoldTheirShareOfTheState) {
  for (const DType compute : {DType::fp32, DType::bf16}) {
    run_ranks(3, [&](const Communicator& world) {
      ToyModel model(compute);
      ParameterStorage& storage = model.storage();
      storage.initialize(1, Stream::cpu(1));
      const int64_t elements = storage.grads().elements();
      const FlatPartition partition(elements, 3, 1 << 20);
      const ShardedOptimizer optimizer(Stream::cpu(1), storage, kOptions,
                                       {world, ZeroStage::optimizer_state, partition, {}, {}});
      const int64_t own = partition.part(0, world.rank()).size();
      EXPECT_EQ(optimizer.bytes(), static_cast<size_t>(own) * sizeof(float) * (compute == DType::bf16 ? 3 : 2));
      EXPECT_EQ(storage.master().defined(), compute == DType::fp32);
    });
  }
}

TEST(ShardedOptimizer, PiecesOfAllRanksAreAllParameters) {
  ToyModel whole(DType::bf16);
  whole.storage().initialize(1, Stream::cpu(1));
  std::vector<float> seen(static_cast<size_t>(whole.storage().grads().elements()));  // each rank fills its own
  run_ranks(3, [&](const Communicator& world) {
    ToyModel model(DType::bf16);
    model.storage().initialize(1, Stream::cpu(1));
    const FlatPartition partition(model.storage().grads().elements(), 3, 1000);
    const ShardedOptimizer optimizer(Stream::cpu(1), model.storage(), kOptions,
                                     {world, ZeroStage::optimizer_state, partition, {}, {}});
    for (const OwnedPiece& piece : optimizer.pieces()) {
      EXPECT_LE(piece.begin + piece.count, piece.parameter->local_shape().elements());
      const std::vector<float> master = values<float>(piece.master);
      std::copy(master.begin(), master.end(), seen.begin() + piece.parameter->flat_offset + piece.begin);
    }
  });
  EXPECT_EQ(seen, values<float>(whole.storage().master()));
}

// Two ranks of a tensor-parallel group: each holds its half of the matrices, both hold all gains and biases.
TEST(ShardedOptimizer, ReplicatedParametersCountOnceInTheNorm) {
  run_ranks(2, [](const Communicator& world) {
    ToyModel model(DType::fp64);
    ParameterStorage& storage = model.storage();
    std::vector<bool> counts_here;
    double expected = 0;
    for (const Parameter* parameter : storage.parameters()) {
      const bool replicated = parameter->global_shape.rank() == 1;
      counts_here.push_back(!replicated || world.rank() == 0);
      auto* grad = parameter->grad.data<double>();
      for (int64_t i = 0; i < parameter->grad.elements(); ++i) {
        grad[i] = replicated ? 3.0 : 1.0 + world.rank();
        expected += replicated ? 9.0 : 1.0 + 4.0;
      }
    }
    const FlatPartition all(storage.grads().elements(), 1, 1 << 20);
    const ShardedOptimizer optimizer(Stream::cpu(1), storage, kOptions,
                                     {Communicator::self(), ZeroStage::optimizer_state, all, {world}, counts_here});
    EXPECT_EQ(optimizer.gradient_norm(Stream::cpu(1)), std::sqrt(expected));
  });
}

TEST(ShardedOptimizer, NonFiniteGradientsShowInTheNormOfEveryRank) {
  run_ranks(2, [](const Communicator& world) {
    ToyModel model(DType::fp32);
    ParameterStorage& storage = model.storage();
    const FlatPartition partition(storage.grads().elements(), 2, 1 << 20);
    if (world.rank() == 0) storage.find("embedding").grad.data<float>()[5] = std::nanf("");
    const ShardedOptimizer optimizer(Stream::cpu(1), storage, kOptions,
                                     {world, ZeroStage::optimizer_state, partition, {}, {}});
    EXPECT_TRUE(std::isnan(optimizer.gradient_norm(Stream::cpu(1))));
  });
}

}  // namespace
}  // namespace trident
