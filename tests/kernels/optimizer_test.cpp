#include "kernels/optimizer.h"

#include <gtest/gtest.h>

#include "tests/kernels/tensors.h"

namespace trident {
namespace {

using namespace testing;

constexpr FlatRange kRanges[] = {
    {0, 1, false}, {3, 70, true}, {80, 80, true}, {83, 70083, false}, {70100, 70117, true}};
constexpr int64_t kCount = 70120;

struct State {
  Tensor master, grad, exp_avg, exp_avg_sq, compute;
};

State random_state(DType wide, DType compute) {
  State state{random({kCount}, wide, 1), random({kCount}, wide, 2), random({kCount}, wide, 3),
              random({kCount}, wide, 4), random({kCount}, compute, 5)};
  for (int64_t i = 0; i < kCount; ++i) set_element(state.exp_avg_sq, i, std::abs(element(state.exp_avg_sq, i)));
  return state;
}

State copy_of(const State& state) {
  return {copy(state.master), copy(state.grad), copy(state.exp_avg), copy(state.exp_avg_sq), copy(state.compute)};
}

void run(const Stream& stream, const AdamWStep& step, State& state) {
  adamw(stream, step, kRanges, state.master, state.grad, state.exp_avg, state.exp_avg_sq, state.compute);
}

TEST(AdamW, MatchesTheReferenceAndLeavesGapsAlone) {
  const AdamWStep step{1e-2, 0.9, 0.95, 1e-8, 0.1, 0.5, 3};
  for (const DType compute : kFloats) {
    const DType wide = accumulation_dtype(compute);
    State state = random_state(wide, compute);
    const State before = copy_of(state);
    Values w = values_of(state.master), m = values_of(state.exp_avg), v = values_of(state.exp_avg_sq);
    std::vector<bool> inside(static_cast<size_t>(kCount));
    for (const FlatRange& range : kRanges) {
      for (auto i = static_cast<size_t>(range.begin); i < static_cast<size_t>(range.end); ++i) {
        const double g = 0.5 * element(state.grad, static_cast<int64_t>(i));
        inside[i] = true;
        if (range.decays) w[i] -= step.lr * step.weight_decay * w[i];
        m[i] = 0.9 * m[i] + 0.1 * g;
        v[i] = 0.95 * v[i] + 0.05 * g * g;
        w[i] -= step.lr * (m[i] / (1 - std::pow(0.9, 3))) / (std::sqrt(v[i] / (1 - std::pow(0.95, 3))) + step.eps);
      }
    }
    run(Stream::cpu(2), step, state);
    expect_near(state.master, w, 8 * epsilon(wide), "master");
    expect_near(state.exp_avg, m, 8 * epsilon(wide), "exp_avg");
    expect_near(state.exp_avg_sq, v, 8 * epsilon(wide), "exp_avg_sq");
    Tensor rounded = copy(before.compute);
    for (int64_t i = 0; i < kCount; ++i) {
      if (inside[static_cast<size_t>(i)]) set_element(rounded, i, element(state.master, i));
    }
    EXPECT_TRUE(same_bits(state.compute, rounded));
    EXPECT_TRUE(same_bits(state.grad, before.grad));

    State alone = copy_of(before);
    alone.compute.reset();
    run(Stream::cpu(2), step, alone);
    EXPECT_TRUE(same_bits(alone.master, state.master));
    for (int64_t i = 0; i < kCount; ++i) {
      if (!inside[static_cast<size_t>(i)]) {
        ASSERT_EQ(element(state.master, i), element(before.master, i));
      }
    }
  }
}

TEST(AdamW, ThreadsDoNotChangeBits) {
  const State before = random_state(DType::fp32, DType::bf16);
  expect_same_for_any_threads([&](const Stream& stream) {
    State state = copy_of(before);
    run(stream, {1e-3, 0.9, 0.95, 1e-8, 0.1, 1.0, 1}, state);
    return std::vector<Tensor>{state.master, state.exp_avg, state.exp_avg_sq, state.compute};
  });
}

TEST(AdamW, ZeroGradientsAndMomentsMoveNothing) {
  State state = random_state(DType::fp32, DType::fp32);
  for (Tensor* tensor : {&state.grad, &state.exp_avg, &state.exp_avg_sq}) *tensor = filled({kCount}, DType::fp32, 0);
  const State before = copy_of(state);
  run(Stream::cpu(1), {1e-3, 0.9, 0.95, 1e-8, 0.0, 1.0, 1}, state);
  EXPECT_TRUE(same_bits(state.master, before.master));
}

TEST(AdamW, RangesOutsideTheStorageAreRefused) {
  State state = random_state(DType::fp32, DType::fp32);
  const FlatRange bad[] = {{0, kCount + 1, false}};
  EXPECT_THROW(adamw(Stream::cpu(1), {}, bad, state.master, state.grad, state.exp_avg, state.exp_avg_sq, state.compute),
               Error);
}

double sum_of_squares(const Stream& stream, const Tensor& x) {
  ExactSum sum;
  add_sums_of_squares(stream, x, std::vector{FlatRange{0, x.elements()}}, sum);
  return sum.value();
}

TEST(AddSumOfSquares, MatchesTheReference) {
  for (const DType dtype : kFloats) {
    for (const int64_t count : {0, 1, 3, 17, 255, 65536, 65537, 200001}) {
      const Tensor x = random({count}, dtype, 1);
      double expected = 0;
      for (const double value : values_of(x)) expected += value * value;
      EXPECT_NEAR(sum_of_squares(Stream::cpu(2), x), expected, 1e-12 * expected + 1e-300);
      const double one = sum_of_squares(Stream::cpu(1), x);
      for (const int threads : {2, 3, 5}) EXPECT_EQ(sum_of_squares(Stream::cpu(threads), x), one);
    }
  }
}

TEST(AddSumOfSquares, DoesNotOverflowSingles) {
  EXPECT_NEAR(sum_of_squares(Stream::cpu(1), filled({9}, DType::fp32, 1e30)), 9e60, 1e54);
}

TEST(AddSumOfSquares, AnyCutAtCellsHasTheSameBits) {
  for (const DType dtype : kFloats) {
    const Tensor x = random({200001}, dtype, 1);
    const int64_t begin = 5;  // neither end is at a cell's
    ExactSum whole;
    add_sums_of_squares(Stream::cpu(1), x, std::vector{FlatRange{begin, x.elements()}}, whole);
    double expected = 0;
    for (int64_t i = begin; i < x.elements(); ++i) expected += element(x, i) * element(x, i);
    EXPECT_NEAR(whole.value(), expected, 1e-12 * expected);
    for (const int64_t cut : {kSquareCell, int64_t{1000} * kSquareCell, int64_t{2048} * kSquareCell}) {
      ExactSum back, front;
      add_sums_of_squares(Stream::cpu(3), x, std::vector{FlatRange{cut, x.elements()}}, back);
      add_sums_of_squares(Stream::cpu(2), x, std::vector{FlatRange{begin, cut}}, front);
      back.add(front);
      EXPECT_EQ(back.value(), whole.value());
    }
  }
}

TEST(Optimizer, MetaDoesNothing) {
  HeapAllocator meta(Device::meta());
  Tensor x = meta.allocate({int64_t{1} << 40}, DType::fp32), none;
  const FlatRange all[] = {{0, int64_t{1} << 40, true}};
  adamw(Stream::meta(), {}, all, x, x, x, x, none);
  EXPECT_EQ(sum_of_squares(Stream::meta(), x), 0.0);
}

}  // namespace
}  // namespace trident
