#include "kernels/linear.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "kernels/gemm_tuning.h"
#include "tests/kernels/random_tensors.h"

namespace trident {
namespace {

using namespace trident::testing;

struct Sizes {
  int64_t rows, in, out;
};

struct Case {
  DType dtype;
  Sizes sizes;
};

void PrintTo(const Case& c, std::ostream* out) {
  *out << to_string(c.dtype) << " " << c.sizes.rows << "x" << c.sizes.in << "x" << c.sizes.out;
}

class LinearTest : public ::testing::TestWithParam<Case> {
 protected:
  DType dtype() const { return GetParam().dtype; }
  int64_t rows() const { return GetParam().sizes.rows; }
  int64_t in() const { return GetParam().sizes.in; }
  int64_t out() const { return GetParam().sizes.out; }
  Tensor random(Shape shape, uint32_t seed) const { return random_tensor(shape, dtype(), seed); }
  /// Sums of `terms` products of values up to 1.
  double scale(int64_t terms) const { return std::sqrt(static_cast<double>(terms)); }

  const Stream stream_ = Stream::cpu(2);
};

TEST_P(LinearTest, ForwardMultipliesByTheTransposedWeightAndAddsTheBias) {
  const Tensor x = random({rows(), in()}, 1);
  const Tensor w = random({out(), in()}, 2);
  for (const Tensor& bias : {random({out()}, 3), Tensor()}) {
    std::vector<double> expected;
    for (int64_t r = 0; r < rows(); ++r) {
      for (int64_t o = 0; o < out(); ++o) {
        double sum = bias.defined() ? get(bias, o) : 0.0;
        for (int64_t i = 0; i < in(); ++i) sum += get(x, r * in() + i) * get(w, o * in() + i);
        expected.push_back(sum);
      }
    }
    Tensor y = poisoned({rows(), out()}, dtype());
    linear_forward(stream_, x, w, bias, y);
    expect_close(y, expected, tolerance(dtype()), scale(in()));
  }
}

TEST_P(LinearTest, BackwardInputMultipliesByTheWeight) {
  const Tensor dy = random({rows(), out()}, 1);
  const Tensor w = random({out(), in()}, 2);
  std::vector<double> expected;
  for (int64_t r = 0; r < rows(); ++r) {
    for (int64_t i = 0; i < in(); ++i) {
      double sum = 0;
      for (int64_t o = 0; o < out(); ++o) sum += get(dy, r * out() + o) * get(w, o * in() + i);
      expected.push_back(sum);
    }
  }
  Tensor dx = poisoned({rows(), in()}, dtype());
  linear_backward_input(stream_, dy, w, dx);
  expect_close(dx, expected, tolerance(dtype()), scale(out()));
}

TEST_P(LinearTest, BackwardWeightAddsToTheGradients) {
  const Tensor dy = random({rows(), out()}, 1);
  const Tensor x = random({rows(), in()}, 2);
  const DType sum_dtype = accumulation_dtype(dtype());
  Tensor dw = random_tensor({out(), in()}, sum_dtype, 3);
  Tensor dbias = random_tensor({out()}, sum_dtype, 4);
  auto expected_dw = values(dw);
  auto expected_dbias = values(dbias);
  for (int64_t o = 0; o < out(); ++o) {
    for (int64_t r = 0; r < rows(); ++r) {
      const double gradient = get(dy, r * out() + o);
      expected_dbias[static_cast<size_t>(o)] += gradient;
      for (int64_t i = 0; i < in(); ++i)
        expected_dw[static_cast<size_t>(o * in() + i)] += gradient * get(x, r * in() + i);
    }
  }
  linear_backward_weight(stream_, dy, x, dw, dbias);
  expect_close(dw, expected_dw, tolerance(sum_dtype), scale(rows()));
  expect_close(dbias, expected_dbias, tolerance(sum_dtype), scale(rows()));

  Tensor without_bias = random_tensor({out(), in()}, sum_dtype, 3);
  Tensor none;
  linear_backward_weight(stream_, dy, x, without_bias, none);
  EXPECT_TRUE(same_bits(without_bias, dw));
}

TEST_P(LinearTest, BitsDoNotDependOnTheThreads) {
  const Tensor x = random({rows(), in()}, 1);
  const Tensor w = random({out(), in()}, 2);
  const Tensor dy = random({rows(), out()}, 3);
  std::vector<Tensor> first;
  for (const int threads : {1, 2, 3, 5}) {
    const Stream stream = Stream::cpu(threads);
    Tensor y = poisoned({rows(), out()}, dtype());
    Tensor dx = poisoned({rows(), in()}, dtype());
    Tensor dw = filled({out(), in()}, accumulation_dtype(dtype()), 1.0);
    Tensor dbias = filled({out()}, accumulation_dtype(dtype()), 1.0);
    linear_forward(stream, x, w, {}, y);
    linear_backward_input(stream, dy, w, dx);
    linear_backward_weight(stream, dy, x, dw, dbias);
    const std::vector<Tensor> now{y, dx, dw, dbias};
    if (first.empty()) first = now;
    for (size_t i = 0; i < now.size(); ++i) EXPECT_TRUE(same_bits(now[i], first[i])) << threads << " threads, " << i;
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const DType dtype : {DType::fp64, DType::fp32, DType::bf16}) {
    for (const Sizes& sizes : std::initializer_list<Sizes>{
             {1, 1, 1}, {7, 3, 5}, {33, 64, 48}, {130, 65, 300}, {600, 17, 33}, {3, 530, 20}, {2, 20, 1030}}) {
      all.push_back({dtype, sizes});
    }
  }
  all.push_back({DType::bf16, {5, 2051, 3}});  // deeper than one conversion
  all.push_back({DType::bf16, {2049, 4, 6}});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Sizes, LinearTest, ::testing::ValuesIn(cases()));

TEST(Linear, LeadingDimensionsFoldIntoRows) {
  const Stream stream = Stream::cpu(1);
  const Tensor x = random_tensor({2, 3, 5}, DType::fp32, 1);
  const Tensor w = random_tensor({4, 5}, DType::fp32, 2);
  Tensor deep = poisoned({2, 3, 4}, DType::fp32);
  Tensor flat = poisoned({6, 4}, DType::fp32);
  linear_forward(stream, x, w, {}, deep);
  linear_forward(stream, x.reshape({6, 5}), w, {}, flat);
  EXPECT_TRUE(same_bits(deep, flat));
}

TEST(Linear, EmptyBatchesGiveNothing) {
  const Stream stream = Stream::cpu(2);
  const Tensor x = random_tensor({0, 5}, DType::fp32, 1);
  const Tensor w = random_tensor({4, 5}, DType::fp32, 2);
  Tensor y = poisoned({0, 4}, DType::fp32);
  Tensor dw = filled({4, 5}, DType::fp32, 2.0);
  Tensor dbias = filled({4}, DType::fp32, 3.0);
  linear_forward(stream, x, w, {}, y);
  linear_backward_weight(stream, y, x, dw, dbias);
  for (const double value : values(dw)) EXPECT_EQ(value, 2.0);
  for (const double value : values(dbias)) EXPECT_EQ(value, 3.0);
}

TEST(Linear, MismatchedOperandsAreRefused) {
  const Stream stream = Stream::cpu(1);
  const Tensor x = random_tensor({2, 5}, DType::fp32, 1);
  const Tensor w = random_tensor({4, 6}, DType::fp32, 2);
  Tensor y = poisoned({2, 4}, DType::fp32);
  EXPECT_THROW(linear_forward(stream, x, w, {}, y), Error);
  const Tensor narrow = random_tensor({4, 5}, DType::bf16, 2);
  EXPECT_THROW(linear_forward(stream, x, narrow, {}, y), Error);
  Tensor dw = filled({4, 5}, DType::bf16, 0.0);
  Tensor none;
  EXPECT_THROW(linear_backward_weight(stream, y, x, dw, none), Error);
}

std::string problem_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::config);
    return error.problem();
  }
  return "none";
}

TEST(Linear, Fp8IsRefusedWhereItCannotRun) {
  const Tensor x = random_tensor({32, 48}, DType::bf16, 1), w = random_tensor({16, 48}, DType::bf16, 2);
  Tensor y = poisoned({32, 16}, DType::bf16), dx = poisoned({32, 48}, DType::bf16), none;
  Tensor dw = filled({16, 48}, DType::fp32, 0.0);
  const Stream cpu = Stream::cpu(1);
  const std::string of_gpus = "fp8 products run on GPUs only, not on cpu";
  EXPECT_EQ(problem_of([&] { require_fp8(cpu); }), of_gpus);
  EXPECT_EQ(problem_of([&] { linear_forward(cpu, x, w, {}, y, LinearPrecision::fp8); }), of_gpus);
  EXPECT_EQ(problem_of([&] { linear_backward_input(cpu, y, w, dx, LinearPrecision::fp8); }), of_gpus);
  EXPECT_EQ(problem_of([&] { linear_backward_weight(cpu, y, x, dw, none, LinearPrecision::fp8); }), of_gpus);

  // A plan on paper is refused for its sizes already.
  const Stream dry = Stream::meta();
  HeapAllocator meta(Device::meta());
  const auto refusal = [&](int64_t rows, int64_t in, int64_t out) {
    const Tensor wide = meta.allocate({rows, in}, DType::bf16), weight = meta.allocate({out, in}, DType::bf16);
    Tensor result = meta.allocate({rows, out}, DType::bf16);
    return problem_of([&] { linear_forward(dry, wide, weight, {}, result, LinearPrecision::fp8); });
  };
  EXPECT_EQ(refusal(32, 48, 16), "none");
  EXPECT_EQ(refusal(33, 48, 16), "fp8 products need multiples of 16, not 33 rows of 48 columns by a weight [16, 48]");
  EXPECT_NE(refusal(32, 40, 16), "none");
  EXPECT_NE(refusal(32, 48, 24), "none");
}

TEST(Linear, FollowsTheChosenLibrary) {
  const Tensor x = random_tensor({100, 80}, DType::fp32, 1);
  const Tensor w = random_tensor({64, 80}, DType::fp32, 2);
  for (const char* library : {"openblas", "blis", "onednn"}) {
    GemmChoices choices;
    choices.set({GemmForm::nt, 100, 64, 80, DType::fp32}, library);
    const Stream stream = Stream::cpu(2);
    stream.attach(std::make_shared<GemmState>(choices));
    Tensor y = poisoned({100, 64}, DType::fp32);
    linear_forward(stream, x, w, {}, y);
    Tensor plain = poisoned({100, 64}, DType::fp32);
    linear_forward(Stream::cpu(1), x, w, {}, plain);
    expect_close(y, values(plain), 1e-5, 9.0);
  }
}

}  // namespace
}  // namespace trident
