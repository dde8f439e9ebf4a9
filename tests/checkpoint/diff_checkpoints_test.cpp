#include "checkpoint/diff_checkpoints.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "tests/checkpoint/split_checkpoint.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::ScratchDir;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::random_splitting;
using ::testing::SizeIs;
using testing::small_tensors;
using testing::SplitCheckpoint;

TEST(DiffCheckpoints, SplittingMakesNoDifference) {
  std::mt19937 random(1);
  const ScratchDir dir;
  const SplitCheckpoint saved{small_tensors()};
  CheckpointReader a(saved.save(dir / "a", random_splitting(saved.tensors, 1, 2, 3, random)));
  CheckpointReader b(saved.save(dir / "b", random_splitting(saved.tensors, 2, 1, 1, random)));
  EXPECT_THAT(diff_checkpoints(a, b), IsEmpty());
  EXPECT_EQ(a.blocks_read(), 0);
}

TEST(DiffCheckpoints, NumbersAreThoseOfTheDefinition) {
  std::mt19937 random(2);
  const ScratchDir dir;
  SplitCheckpoint saved{{{"a", {40, 3}}, {"b", {5}}}};
  CheckpointReader a(saved.save(dir / "a", random_splitting(saved.tensors, 1, 2, 3, random)));
  saved.seed = 2;
  CheckpointReader b(saved.save(dir / "b", random_splitting(saved.tensors, 2, 1, 2, random)));
  const std::vector<TensorDifference> found = diff_checkpoints(a, b);
  ASSERT_THAT(found, SizeIs(6));
  std::vector<float> x(5), y(5);
  a.read(StateKind::exp_avg, 1, {0, 5, 0, 1}, std::span(x));
  b.read(StateKind::exp_avg, 1, {0, 5, 0, 1}, std::span(y));
  double largest = 0, squares = 0, all = 0;
  for (size_t i = 0; i < 5; ++i) {
    const double distance = std::abs(static_cast<double>(x[i]) - static_cast<double>(y[i]));
    largest = std::max(largest, distance);
    squares += distance * distance;
    all += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  EXPECT_EQ(found[4].tensor, "b");
  EXPECT_EQ(found[4].kind, StateKind::exp_avg);
  EXPECT_EQ(found[4].elements, 5);
  EXPECT_DOUBLE_EQ(found[4].largest, largest);
  EXPECT_DOUBLE_EQ(found[4].relative_norm, std::sqrt(squares / all));
  // The special elements are the same in both.
  EXPECT_EQ(found[0].elements, 120 - 8);
}

TEST(DiffCheckpoints, WhatOnlyOneHas) {
  std::mt19937 random(3);
  const ScratchDir dir;
  SplitCheckpoint saved{{{"same", {4, 3}}, {"shape", {5, 2}}, {"mine", {2}}}};
  CheckpointReader a(saved.save(dir / "a", random_splitting(saved.tensors, 1, 2, 1, random)));
  saved.tensors = {{"same", {4, 3}}, {"shape", {2, 5}}, {"yours", {2}}};
  saved.moments = false;
  CheckpointReader b(saved.save(dir / "b", random_splitting(saved.tensors, 1, 1, 1, random)));
  const std::vector<TensorDifference> found = diff_checkpoints(a, b);
  ASSERT_THAT(found, SizeIs(5));
  EXPECT_EQ(found[0].kind, StateKind::exp_avg);
  EXPECT_THAT(found[0].detail, HasSubstr("only in " + a.folder().string()));
  EXPECT_EQ(found[2].detail, "shapes [5, 2] and [2, 5]");
  EXPECT_EQ(found[3].tensor, "mine");
  EXPECT_EQ(found[4].tensor, "yours");
  EXPECT_THAT(found[4].detail, HasSubstr("only in " + b.folder().string()));
}

TEST(DiffCheckpoints, AcrossTypesValuesCount) {
  std::mt19937 random(4);
  const ScratchDir dir;
  SplitCheckpoint saved{{{"a", {6}}}};
  CheckpointReader a(saved.save(dir / "a", random_splitting(saved.tensors, 1, 1, 1, random)));
  saved.dtype = DType::fp64;
  CheckpointReader b(saved.save(dir / "b", random_splitting(saved.tensors, 1, 1, 2, random)));
  const std::vector<TensorDifference> found = diff_checkpoints(a, b);
  ASSERT_THAT(found, SizeIs(3));
  EXPECT_EQ(found[0].elements, 5);  // NaN is the same in both
}

}  // namespace
}  // namespace trident
