#include "core/allocator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <utility>

#include "core/philox.h"

namespace trident {
namespace {

// A random program of allocations and releases, the same for every allocator.
template <class Visit>
void random_program(Allocator& allocator, uint64_t seed, Visit visit) {
  const RandomStream random(seed, "program");
  std::deque<Tensor> held;
  for (uint64_t i = 0; i < 200; ++i) {
    if (random.uniform(3 * i) < 0.55) {
      held.push_back(allocator.allocate({1 + static_cast<int64_t>(random.uniform(3 * i + 1) * 5000)}, DType::fp32));
    } else if (!held.empty()) {
      held.erase(held.begin() + static_cast<int64_t>(random.uniform(3 * i + 2) * static_cast<double>(held.size())));
    }
    visit(held);
  }
}

using Block = ArenaPlan::Block;
constexpr int64_t kForever = std::numeric_limits<int64_t>::max();

std::vector<Block> random_blocks(uint64_t seed) {
  ArenaRecorder recorder;
  random_program(recorder, seed, [](auto&) {});
  return recorder.plan().blocks;
}

bool live_at_once(const Block& a, const Block& b) { return a.birth < b.death && b.birth < a.death; }

bool overlap(const Block& a, const Block& b) {
  return live_at_once(a, b) && a.offset < b.offset + b.bytes && b.offset < a.offset + a.bytes;
}

std::vector<size_t> offsets_of(const std::vector<Block>& blocks) {
  std::vector<size_t> offsets(blocks.size());
  std::transform(blocks.begin(), blocks.end(), offsets.begin(), [](const Block& block) { return block.offset; });
  return offsets;
}

// The definition: largest first, each at the lowest of all ends of others where it fits.
std::vector<size_t> slow_offsets(std::vector<Block> blocks) {
  std::vector<Block*> order, placed;
  for (Block& block : blocks) order.push_back(&block);
  std::stable_sort(order.begin(), order.end(), [](const Block* a, const Block* b) { return a->bytes > b->bytes; });
  for (Block* block : order) {
    std::vector<size_t> offsets = {0};
    for (const Block* other : placed) offsets.push_back(other->offset + other->bytes);
    std::sort(offsets.begin(), offsets.end());
    const auto fits = [&](size_t offset) {
      block->offset = offset;
      return std::none_of(placed.begin(), placed.end(), [&](const Block* other) { return overlap(*block, *other); });
    };
    (void)std::find_if(offsets.begin(), offsets.end(), fits);
    placed.push_back(block);
  }
  return offsets_of(blocks);
}

size_t slow_lower_bound(const std::vector<Block>& blocks) {
  size_t highest = 0;
  for (const Block& at : blocks) {
    size_t sum = 0;
    for (const Block& other : blocks)
      if (other.birth <= at.birth && at.birth < other.death) sum += other.bytes;
    highest = std::max(highest, sum);
  }
  return highest;
}

// Walks through time with the blocks that live, in order of their offsets.
void expect_disjoint(const ArenaPlan& plan) {
  std::multimap<int64_t, const Block*> deaths;
  std::map<size_t, const Block*> live;
  for (const Block& block : plan.blocks) {
    for (; !deaths.empty() && deaths.begin()->first <= block.birth; deaths.erase(deaths.begin()))
      live.erase(deaths.begin()->second->offset);
    const auto [self, is_new] = live.emplace(block.offset, &block);
    ASSERT_TRUE(is_new) << "two at " << block.offset;
    if (self != live.begin()) {
      const Block& below = *std::prev(self)->second;
      ASSERT_LE(below.offset + below.bytes, block.offset);
    }
    if (std::next(self) != live.end()) {
      ASSERT_LE(block.offset + block.bytes, std::next(self)->first);
    }
    ASSERT_LE(block.offset + block.bytes, plan.total_bytes);
    deaths.emplace(block.death, &block);
  }
}

// What one rank of 1F1B allocates: a forward leaves saved tensors behind and has temporary ones, and so has the
// backward that releases them.
class PipelineProgram {
 public:
  PipelineProgram(int in_flight, int microbatches, int layers) : layers_(layers) {
    for (int i = 0; i < microbatches + in_flight; ++i) {
      if (i < microbatches) forward();
      if (i >= in_flight) backward();
    }
  }

  [[nodiscard]] const std::vector<Block>& blocks() const { return blocks_; }

 private:
  size_t allocate(size_t bytes) {
    blocks_.push_back({bytes * ArenaPlan::kAlignment, clock_++, kForever, 0});
    return blocks_.size() - 1;
  }
  void release(size_t block) { blocks_[block].death = clock_++; }

  void forward() {
    std::vector<size_t>& saved = saved_.emplace_back();
    for (int layer = 0; layer < layers_; ++layer) {
      saved.push_back(allocate(12));
      const size_t temporary = allocate(40);
      for (const size_t bytes : {36, 1, 12, 48}) saved.push_back(allocate(bytes));
      release(temporary);
    }
  }

  void backward() {
    size_t gradient = allocate(12);
    for (std::vector<size_t>& saved = saved_.front(); !saved.empty(); saved.pop_back()) {
      const size_t next = allocate(saved.size() % 5 == 0 ? 48 : 12);
      release(saved.back());
      release(std::exchange(gradient, next));
    }
    release(gradient);
    saved_.pop_front();
  }

  int layers_;
  int64_t clock_ = 0;
  std::vector<Block> blocks_;
  std::deque<std::vector<size_t>> saved_;  // of the microbatches in flight
};

TEST(Arena, BlocksThatLiveAtOnceNeverOverlapAndThePlanIsTight) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const ArenaPlan plan = plan_arena(random_blocks(seed));
    expect_disjoint(plan);
    for (const Block& a : plan.blocks)
      for (const Block& b : plan.blocks) ASSERT_TRUE(&a == &b || !overlap(a, b));
    EXPECT_GE(plan.total_bytes, plan.lower_bound());
    EXPECT_LE(static_cast<double>(plan.total_bytes), 1.25 * static_cast<double>(plan.lower_bound()));
  }
}

TEST(Arena, EveryBlockLiesLowestWhereItIsFree) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    std::vector<Block> blocks = random_blocks(seed);
    // In every other program few sizes, as in a model; in some, one size only.
    if (seed % 2 == 1)
      for (Block& block : blocks) block.bytes = ArenaPlan::kAlignment * (1 + block.bytes / 256 % (1 + seed / 2));
    EXPECT_EQ(offsets_of(plan_arena(blocks).blocks), slow_offsets(blocks)) << seed;
  }
  const std::vector<Block> pipeline = PipelineProgram(3, 12, 2).blocks();
  EXPECT_EQ(offsets_of(plan_arena(pipeline).blocks), slow_offsets(pipeline));
}

TEST(Arena, TheLowerBoundIsTheMostThatLivesAtOnce) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const ArenaPlan plan = plan_arena(random_blocks(seed));
    EXPECT_EQ(plan.lower_bound(), slow_lower_bound(plan.blocks)) << seed;
  }
  EXPECT_EQ(ArenaPlan{}.lower_bound(), 0U);
  EXPECT_EQ(plan_arena({}).total_bytes, 0U);
  // One that dies when the other is born does not live beside it.
  EXPECT_EQ((ArenaPlan{{{256, 0, 3, 0}, {512, 3, kForever, 0}}, 0}.lower_bound()), 512U);
}

TEST(Arena, WhatOutlivesTheProgramIsNeverOverwritten) {
  std::vector<Block> blocks = random_blocks(1);
  for (size_t i = 0; i < blocks.size(); i += 10) blocks[i].death = kForever;
  const ArenaPlan plan = plan_arena(blocks);
  expect_disjoint(plan);
  EXPECT_EQ(offsets_of(plan.blocks), slow_offsets(blocks));
  EXPECT_EQ(plan.lower_bound(), slow_lower_bound(blocks));
}

// Microbatches with nothing alive in between are planned alike, so a step needs no more memory than one of them.
TEST(Arena, EqualSegmentsGetEqualOffsets) {
  const ArenaPlan one = plan_arena(PipelineProgram(0, 1, 6).blocks());
  const ArenaPlan many = plan_arena(PipelineProgram(0, 50, 6).blocks());
  ASSERT_EQ(many.blocks.size(), 50 * one.blocks.size());
  EXPECT_EQ(many.total_bytes, one.total_bytes);
  for (size_t i = 0; i < many.blocks.size(); ++i)
    ASSERT_EQ(many.blocks[i].offset, one.blocks[i % one.blocks.size()].offset) << i;
}

// gtest's own limit would catch a plan that compares all pairs.
TEST(Arena, AStepOfManyMicrobatchesIsPlannedQuickly) {
  const ArenaPlan plan = plan_arena(PipelineProgram(4, 800, 12).blocks());
  EXPECT_GT(plan.blocks.size(), 100'000U);
  expect_disjoint(plan);
  EXPECT_LE(static_cast<double>(plan.total_bytes), 1.05 * static_cast<double>(plan.lower_bound()));
}

TEST(Arena, ReplayKeepsEveryLiveTensorsContents) {
  ArenaRecorder recorder;
  random_program(recorder, 3, [](auto&) {});
  const ArenaPlan plan = recorder.plan();
  Arena arena(plan, map_memory(plan.total_bytes));
  for (int round = 0; round < 2; ++round) {
    arena.rewind();
    float stamp = 0;
    random_program(arena, 3, [&](std::deque<Tensor>& held) {
      if (held.empty()) return;
      stamp += 1;
      Tensor& newest = held.back();
      std::fill_n(newest.data<float>(), newest.elements(), stamp);
      for (const Tensor& tensor : held) ASSERT_EQ(tensor.data<float>()[0], tensor.data<float>()[tensor.elements() - 1]);
    });
  }
}

TEST(Arena, AnotherProgramThanThePlannedOneIsRefused) {
  ArenaRecorder recorder;
  { const Tensor a = recorder.allocate({100}, DType::fp32); }
  const ArenaPlan plan = recorder.plan();
  Arena arena(plan, map_memory(plan.total_bytes));
  EXPECT_THROW((void)arena.allocate({1000}, DType::fp32), Error);
  arena.rewind();
  std::optional<Tensor> tensor = arena.allocate({100}, DType::fp32);
  EXPECT_THROW((void)arena.allocate({100}, DType::fp32), Error);
  EXPECT_THROW(arena.rewind(), Error);
  tensor.reset();
  arena.rewind();
}

TEST(Memory, ImpossibleSizesAreRefusedWithTheSize) {
  try {
    (void)map_memory(size_t{1} << 60);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("MiB"), std::string::npos);
  }
}

}  // namespace
}  // namespace trident
