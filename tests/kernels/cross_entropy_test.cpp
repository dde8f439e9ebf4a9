#include "kernels/cross_entropy.h"

#include <gtest/gtest.h>

#include "tests/kernels/tensors.h"

namespace trident {
namespace {

using namespace testing;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// The whole forward pass, over the vocabulary in one part.
void forward(const Stream& stream, const Tensor& logits, const Tensor& labels, Tensor& losses, Tensor& lse) {
  Tensor statistics = poisoned({logits.rows(), 3}, accumulation_dtype(logits.dtype()));
  cross_entropy_statistics(stream, logits, labels, 0, statistics);
  cross_entropy_losses(stream, statistics, labels, logits.columns(), losses, lse);
}

struct Reference {
  Values losses, lse, gradient;
};

Reference reference(const Tensor& logits, const Tensor& labels, double weight) {
  Reference out;
  const int64_t n = logits.columns();
  for (int64_t row = 0; row < logits.rows(); ++row) {
    const auto at = [&](int64_t j) { return element(logits, row * n + j); };
    double max = -kInfinity, sum = 0;
    for (int64_t j = 0; j < n; ++j) max = std::max(max, at(j));
    for (int64_t j = 0; j < n; ++j) sum += std::exp(at(j) - max);
    const auto label = static_cast<int64_t>(element(labels, row));
    out.lse.push_back(max + std::log(sum));
    out.losses.push_back(label < 0 ? 0 : std::log(sum) + max - at(label));
    for (int64_t j = 0; j < n; ++j) {
      out.gradient.push_back(label < 0 ? 0 : weight * (std::exp(at(j) - max) / sum - (j == label ? 1 : 0)));
    }
  }
  return out;
}

/// `large` is the size of the logits: their lse is rounded to that many digits less.
void expect_reference(Tensor logits, const Tensor& labels, double large) {
  const Stream stream = Stream::cpu(2);
  const DType dtype = logits.dtype(), wide = accumulation_dtype(dtype);
  const Reference expected = reference(logits, labels, 0.25);
  Tensor losses = poisoned({logits.rows()}, wide), lse = poisoned({logits.rows()}, wide);
  forward(stream, logits, labels, losses, lse);
  expect_near(losses, expected.losses, 16 * epsilon(wide), "losses");
  expect_near(lse, expected.lse, 16 * epsilon(wide), "lse");
  cross_entropy_backward(stream, labels, 0, lse, 0.25, logits);
  expect_near(logits, expected.gradient, 2 * epsilon(dtype) + (8 + large) * epsilon(wide), "gradient");
}

TEST(CrossEntropy, MatchesTheReference) {
  for (const DType dtype : kFloats) {
    for (const int64_t rows : kRows) {
      for (const int64_t columns : {1, 3, 17, 255, 1000, 9001}) {
        const Tensor labels = random_indices({rows}, -1, columns, 2);
        expect_reference(random({rows, columns}, dtype, 1, 8.0), labels, 8);
      }
    }
  }
}

TEST(CrossEntropy, LargeLogits) {
  for (const DType dtype : kFloats) {
    expect_reference(random({9, 5000}, dtype, 1, 1e4), random_indices({9}, 0, 5000, 2), 1e4);
    Tensor steps = filled({2, 5000}, dtype, -1e4);  // the maximum is in a later chunk than the sum's first terms
    set_element(steps, 4999, 1e4);
    set_element(steps, 5000 + 4200, 3.0);
    expect_reference(steps, tensor_of({2}, DType::int32, {0, 4200}), 1e4);
  }
}

TEST(CrossEntropy, ForbiddenTokensHaveNoWeight) {
  for (const DType dtype : kFloats) {
    Tensor logits = random({2, 9000}, dtype, 1);
    for (int64_t j = 0; j < 5000; ++j) set_element(logits, j, -kInfinity);  // a whole chunk, first
    for (int64_t j = 4000; j < 9000; ++j) set_element(logits, 9000 + j, -kInfinity);
    expect_reference(logits, tensor_of({2}, DType::int32, {8000, 3999}), 2);
  }
}

TEST(CrossEntropy, NanIsNotHidden) {
  for (const int64_t at : {0, 700, 4096, 8999}) {
    Tensor logits = random({1, 9000}, DType::fp32, 1), losses = filled({1}, DType::fp32, 0), lse = copy(losses);
    set_element(logits, at, std::nan(""));
    forward(Stream::cpu(1), logits, tensor_of({1}, DType::int32, {3}), losses, lse);
    EXPECT_TRUE(std::isnan(element(losses, 0))) << at;
  }
}

TEST(CrossEntropy, FiniteDifferences) {
  const Stream stream = Stream::cpu(1);
  Tensor logits = random({4, 17}, DType::fp64, 1), losses = poisoned({4}, DType::fp64), lse = copy(losses);
  const Tensor labels = tensor_of({4}, DType::int32, {0, 16, -1, 5});
  forward(stream, logits, labels, losses, lse);
  Tensor gradient = copy(logits);
  cross_entropy_backward(stream, labels, 0, lse, 0.5, gradient);
  expect_gradient(logits, gradient, [&] {
    forward(stream, logits, labels, losses, lse);
    return 0.5 * dot(losses, filled({4}, DType::fp64, 1));
  });
}

TEST(CrossEntropy, LabelsOutsideTheVocabularyAreRefused) {
  const Stream stream = Stream::cpu(2);
  Tensor logits = random({3, 10}, DType::fp32, 1), losses = filled({3}, DType::fp32, 0), lse = copy(losses);
  for (const double bad : {-2.0, 10.0, 2147483647.0, -2147483648.0}) {
    const Tensor labels = tensor_of({3}, DType::int32, {1, bad, 2});
    try {
      forward(stream, logits, labels, losses, lse);
      FAIL() << bad;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::bad_data);
      EXPECT_NE(error.problem().find("row 1"), std::string::npos) << error.what();
    }
  }
}

TEST(CrossEntropy, ThreadsDoNotChangeBits) {
  const Tensor logits = random({130, 5000}, DType::fp32, 1), labels = random_indices({130}, -1, 5000, 2);
  expect_same_for_any_threads([&](const Stream& stream) {
    Tensor losses = poisoned({130}, DType::fp32), lse = copy(losses), gradient = copy(logits);
    forward(stream, logits, labels, losses, lse);
    cross_entropy_backward(stream, labels, 0, lse, 0.1, gradient);
    return std::vector<Tensor>{losses, lse, gradient};
  });
}

TEST(CrossEntropy, MetaDoesNothing) {
  HeapAllocator meta(Device::meta());
  Tensor logits = meta.allocate({1 << 20, 1 << 17}, DType::bf16), lse = meta.allocate({1 << 20}, DType::fp32);
  const Tensor labels = meta.allocate({1 << 20}, DType::int32);
  forward(Stream::meta(), logits, labels, lse, lse);
  cross_entropy_backward(Stream::meta(), labels, 0, lse, 1, logits);
}

TEST(CrossEntropy, PartsOfTheVocabularyGiveTheWholesLossesAndGradients) {
  const Stream stream = Stream::cpu(2);
  for (const DType dtype : {DType::fp64, DType::fp32}) {
    const int64_t rows = 17, columns = 101, cut = 37;
    const Tensor labels = random_indices({rows}, -1, columns, 2);
    Tensor whole = random({rows, columns}, dtype, 1, 8.0);
    Tensor left = poisoned({rows, cut}, dtype), right = poisoned({rows, columns - cut}, dtype);
    for (int64_t i = 0; i < whole.elements(); ++i) {
      const int64_t row = i / columns, column = i % columns;
      Tensor& part = column < cut ? left : right;
      set_element(part, row * part.columns() + column - (column < cut ? 0 : cut), element(whole, i));
    }
    Tensor losses = poisoned({rows}, dtype), lse = poisoned({rows}, dtype), expected = copy(losses),
           whole_lse = copy(lse);
    forward(stream, whole, labels, expected, whole_lse);
    Tensor statistics = poisoned({2, rows, 3}, dtype), first = statistics.slice(0, 1), second = statistics.slice(1, 1);
    cross_entropy_statistics(stream, left, labels, 0, first);
    cross_entropy_statistics(stream, right, labels, cut, second);
    cross_entropy_losses(stream, statistics, labels, columns, losses, lse);
    cross_entropy_backward(stream, labels, 0, whole_lse, 0.5, whole);
    cross_entropy_backward(stream, labels, 0, lse, 0.5, left);
    cross_entropy_backward(stream, labels, cut, lse, 0.5, right);
    for (int64_t row = 0; row < rows; ++row)
      EXPECT_NEAR(element(losses, row), element(expected, row), 32 * epsilon(dtype) * std::abs(element(expected, row)));
    for (int64_t i = 0; i < whole.elements(); ++i) {
      const int64_t row = i / columns, column = i % columns;
      const double part =
          column < cut ? element(left, row * cut + column) : element(right, row * (columns - cut) + column - cut);
      EXPECT_NEAR(part, element(whole, i), 32 * epsilon(dtype));
    }
  }
}

}  // namespace
}  // namespace trident
