#include "core/allocator.h"

#include <gtest/gtest.h>

#include <deque>
#include <optional>

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

TEST(Arena, BlocksThatLiveAtOnceNeverOverlapAndThePlanIsTight) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    ArenaRecorder recorder;
    random_program(recorder, seed, [](auto&) {});
    const ArenaPlan plan = recorder.plan();
    for (const auto& a : plan.blocks) {
      for (const auto& b : plan.blocks) {
        if (&a == &b || a.birth >= b.death || b.birth >= a.death) continue;
        ASSERT_TRUE(a.offset + a.bytes <= b.offset || b.offset + b.bytes <= a.offset);
      }
    }
    EXPECT_GE(plan.total_bytes, plan.lower_bound());
    EXPECT_LE(static_cast<double>(plan.total_bytes), 1.25 * static_cast<double>(plan.lower_bound()));
  }
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
