#include "kernels/optimizer.h"

#include "tests/kernels/cuda/gpu.h"

namespace trident::testing {
namespace {

using CudaSumsOfSquares = GpuTest;

constexpr DType kFloats[] = {DType::fp64, DType::fp32, DType::bf16};

/// Many more than one launch takes, of sizes from 0 to some thousands, with and without gaps; and one large one.
std::vector<FlatRange> many_ranges() {
  std::vector<FlatRange> ranges;
  std::mt19937 generator(7);
  int64_t at = 3;
  for (int i = 0; i < 300; ++i) {
    const auto size = static_cast<int64_t>(generator() % 4 == 0 ? generator() % 5000 : generator() % 9);
    ranges.push_back({at, at + size, generator() % 2 == 0});
    at += size + static_cast<int64_t>(generator() % 3);
  }
  ranges.push_back({at, at + 100003, true});
  return ranges;
}

struct State {
  Tensor master, grad, exp_avg, exp_avg_sq, compute;
};

State random_state(int64_t count, DType wide, DType compute) {
  State state{random_tensor({count}, wide, 1), random_tensor({count}, wide, 2), random_tensor({count}, wide, 3),
              random_tensor({count}, wide, 4), random_tensor({count}, compute, 5)};
  for (int64_t i = 0; i < count; ++i) set(state.exp_avg_sq, i, std::abs(get(state.exp_avg_sq, i)));
  return state;
}

class CudaAdamW : public GpuTest {
 protected:
  /// `offset`: elements from the beginning of aligned memory.
  [[nodiscard]] Tensor upload_at(const Tensor& host, int64_t offset) const {
    const Tensor larger = allocate_zeroed(gpu.device(), {host.elements() + offset}, host.dtype());
    Tensor view = larger.flat_view(offset, host.shape());
    copy(gpu, host, view);
    gpu.synchronize();
    return view;
  }
  [[nodiscard]] State upload_at(const State& state, int64_t offset) const {
    return {upload_at(state.master, offset), upload_at(state.grad, offset), upload_at(state.exp_avg, offset),
            upload_at(state.exp_avg_sq, offset), upload_at(state.compute, offset)};
  }
  void expect_same(const State& found, const State& expected) const {
    EXPECT_TRUE(same_bits(download(found.master), expected.master));
    EXPECT_TRUE(same_bits(download(found.grad), expected.grad));
    EXPECT_TRUE(same_bits(download(found.exp_avg), expected.exp_avg));
    EXPECT_TRUE(same_bits(download(found.exp_avg_sq), expected.exp_avg_sq));
    EXPECT_TRUE(same_bits(download(found.compute), expected.compute));
  }
};

void run(const Stream& stream, const AdamWStep& step, std::span<const FlatRange> ranges, State& state) {
  Tensor compute = state.compute;
  adamw(stream, step, ranges, state.master, state.grad, state.exp_avg, state.exp_avg_sq, compute);
}

// In every dtype the CPU does the same operations, each rounded once; what lies between the ranges stays as it was.
TEST_F(CudaAdamW, HasTheBitsOfTheCpu) {
  const AdamWStep step{1e-2, 0.9, 0.95, 1e-8, 0.1, 0.5, 3};
  const std::vector<FlatRange> ranges = many_ranges();
  const int64_t count = ranges.back().end + 5;
  for (const DType compute : kFloats) {
    SCOPED_TRACE(to_string(compute));
    State state = random_state(count, accumulation_dtype(compute), compute);
    State aligned = upload_at(state, 0), shifted = upload_at(state, 1), alone = upload_at(state, 0);
    run(gpu, step, ranges, aligned);
    run(gpu, step, ranges, shifted);
    Tensor none;
    const DType wide = accumulation_dtype(compute);
    adamw(gpu, step, ranges, alone.master, alone.grad, alone.exp_avg, alone.exp_avg_sq, none);
    run(cpu, step, ranges, state);
    expect_same(aligned, state);
    expect_same(shifted, state);
    EXPECT_TRUE(same_bits(download(alone.master), state.master)) << to_string(wide);
    EXPECT_TRUE(same_bits(download(alone.exp_avg_sq), state.exp_avg_sq)) << to_string(wide);
  }
}

TEST_F(CudaAdamW, NoRangesChangeNothing) {
  const State before = random_state(100, DType::fp32, DType::bf16);
  State state = upload_at(before, 0);
  run(gpu, {}, {}, state);
  run(gpu, {}, std::vector<FlatRange>{{0, 0, true}, {100, 100, false}}, state);
  expect_same(state, before);
}

double sum_of_squares(const Stream& stream, const Tensor& x, const std::vector<FlatRange>& ranges) {
  ExactSum sum;
  sum.add(0.25);  // what was there stays
  add_sums_of_squares(stream, x, ranges, sum);
  return sum.value() - 0.25;
}

TEST_F(CudaSumsOfSquares, MatchTheCpu) {
  for (const DType dtype : kFloats) {
    for (const int64_t count : {0, 1, 3, 63, 64, 65, 2047, 2048, 2049, 65536, 200001}) {
      const Tensor x = random_tensor({count}, dtype, 1), x_gpu = upload(x);
      const std::vector<FlatRange> all = {{0, count}};
      const double expected = sum_of_squares(cpu, x, all), found = sum_of_squares(gpu, x_gpu, all);
      EXPECT_NEAR(found, expected, 1e-14 * expected + 1e-15) << to_string(dtype) << " " << count;
      EXPECT_EQ(sum_of_squares(gpu, x_gpu, all), found);
    }
    const std::vector<FlatRange> many = many_ranges();
    const Tensor x = random_tensor({many.back().end}, dtype, 2);
    const double expected = sum_of_squares(cpu, x, many);
    EXPECT_NEAR(sum_of_squares(gpu, upload(x), many), expected, 1e-14 * expected) << to_string(dtype);
  }
}

TEST_F(CudaSumsOfSquares, AnyCutAtCellsAndAnyAddressHaveTheSameBits) {
  for (const DType dtype : kFloats) {
    const Tensor x = random_tensor({200001}, dtype, 1), x_gpu = upload(x);
    const int64_t begin = 5;  // neither end is at a cell's
    const double whole = sum_of_squares(gpu, x_gpu, {{begin, 200001}});
    for (const int64_t cut : {kSquareCell, int64_t{31} * kSquareCell, int64_t{2048} * kSquareCell})
      EXPECT_EQ(sum_of_squares(gpu, x_gpu, {{begin, cut}, {cut, 200001}}), whole);
    const Tensor larger = allocate_zeroed(gpu.device(), {200002}, dtype), shifted = larger.flat_view(1, {200001});
    copy(gpu, x, shifted);
    EXPECT_EQ(sum_of_squares(gpu, shifted, {{begin, 200001}}), whole);
  }
}

// Terms so far apart that a thread's window of words has to follow them, and back; each square is exact.
TEST_F(CudaSumsOfSquares, AnyMagnitudesAreSummedWithoutRounding) {
  for (const DType dtype : kFloats) {
    const int64_t count = 64 * 4000;
    Tensor x = filled({count}, dtype, 0.0);
    for (int64_t cell = 0; cell < 4000; ++cell) {
      const double exponents[] = {-60, 0, 60, -20, 30, -50};
      set(x, 64 * cell + cell % 64, std::exp2(exponents[cell % 6 == 0 ? cell / 6 % 6 : cell % 6]));
    }
    const std::vector<FlatRange> all = {{0, count}};
    ExactSum expected, found;
    add_sums_of_squares(cpu, x, all, expected);
    add_sums_of_squares(gpu, upload(x), all, found);
    const auto a = expected.words(), b = found.words();
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin())) << to_string(dtype);
  }
}

TEST_F(CudaSumsOfSquares, LargeValuesInfinityAndNan) {
  const std::vector<FlatRange> all = {{0, 5000}};
  Tensor x = filled({5000}, DType::fp32, 1e30);
  EXPECT_NEAR(sum_of_squares(gpu, upload(x), all), 5e63, 1e57);
  set(x, 4999, -HUGE_VAL);
  EXPECT_EQ(sum_of_squares(gpu, upload(x), all), HUGE_VAL);
  set(x, 77, std::nan(""));
  EXPECT_TRUE(std::isnan(sum_of_squares(gpu, upload(x), all)));
}

}  // namespace
}  // namespace trident::testing
