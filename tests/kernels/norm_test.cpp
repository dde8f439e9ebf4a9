#include "kernels/norm.h"

#include <gtest/gtest.h>

#include "tests/kernels/tensors.h"

namespace trident {
namespace {

using namespace testing;

constexpr NormKind kKinds[] = {NormKind::rms, NormKind::layer};

NormWeights random_weights(NormKind kind, int64_t columns, DType dtype) {
  NormWeights weights{kind, 1e-5, random({columns}, dtype, 11), {}};
  if (kind == NormKind::layer) weights.bias = random({columns}, dtype, 12);
  return weights;
}

struct Reference {
  Values y, stats, dx, partials;
};

Reference reference(const NormWeights& weights, const Tensor& x, const Tensor& dy, const Tensor& dresidual) {
  const bool layer = weights.kind == NormKind::layer;
  const int64_t rows = x.rows(), n = x.columns();
  const auto count = static_cast<double>(n);
  Reference out;
  out.partials.assign(static_cast<size_t>((layer ? 2 : 1) * n), 0.0);
  for (int64_t row = 0; row < rows; ++row) {
    const auto at = [&](const Tensor& t, int64_t j) { return element(t, row * n + j); };
    double mean = 0, square = 0, mean_g = 0, mean_gx = 0;
    for (int64_t j = 0; j < n && layer; ++j) mean += at(x, j) / count;
    for (int64_t j = 0; j < n; ++j) square += (at(x, j) - mean) * (at(x, j) - mean) / count;
    const double inverse = 1 / std::sqrt(square + weights.eps);
    out.stats.insert(out.stats.end(), {mean, inverse});
    for (int64_t j = 0; j < n; ++j) {
      const double hat = (at(x, j) - mean) * inverse, gain = element(weights.gain, j);
      out.y.push_back(hat * gain + (layer ? element(weights.bias, j) : 0.0));
      out.partials[static_cast<size_t>(j)] += at(dy, j) * hat;
      if (layer) out.partials[static_cast<size_t>(n + j)] += at(dy, j);
      if (layer) mean_g += at(dy, j) * gain / count;
      mean_gx += at(dy, j) * gain * hat / count;
    }
    for (int64_t j = 0; j < n; ++j) {
      const double hat = (at(x, j) - mean) * inverse;
      const double through = inverse * (at(dy, j) * element(weights.gain, j) - mean_g - hat * mean_gx);
      out.dx.push_back(through + (dresidual.defined() ? at(dresidual, j) : 0.0));
    }
  }
  return out;
}

TEST(Norm, ForwardMatchesTheReference) {
  const Stream stream = Stream::cpu(2);
  for (const NormKind kind : kKinds) {
    for (const DType dtype : kFloats) {
      for (const int64_t rows : kRows) {
        for (const int64_t columns : kColumns) {
          const DType wide = accumulation_dtype(dtype);
          const Tensor x = random({rows, columns}, dtype, 1);
          const NormWeights weights = random_weights(kind, columns, dtype);
          const Reference expected = reference(weights, x, x, {});
          Tensor y = poisoned(x.shape(), dtype), stats = poisoned({rows, 2}, wide), again = poisoned(x.shape(), dtype);
          norm_forward(stream, weights, x, y, stats);
          // A layer norm of three close values amplifies rounding by its inverse deviation.
          expect_near(y, expected.y, 64 * epsilon(dtype), "y");
          expect_near(stats, expected.stats, 16 * epsilon(wide), "stats");
          norm_recompute(stream, weights, x, stats, again);
          EXPECT_TRUE(same_bits(y, again));
        }
      }
    }
  }
}

TEST(Norm, AddNormIsAddThenNorm) {
  const Stream stream = Stream::cpu(2);
  for (const NormKind kind : kKinds) {
    for (const DType dtype : kFloats) {
      for (const int64_t columns : kColumns) {
        const Shape shape{7, columns};
        const Tensor x = random(shape, dtype, 1), delta = random(shape, dtype, 2);
        const NormWeights weights = random_weights(kind, columns, dtype);
        Tensor expected_sum = poisoned(shape, dtype), expected_y = poisoned(shape, dtype);
        Tensor expected_stats = poisoned({7, 2}, accumulation_dtype(dtype)), stats = copy(expected_stats);
        for (int64_t i = 0; i < x.elements(); ++i) set_element(expected_sum, i, element(x, i) + element(delta, i));
        norm_forward(stream, weights, expected_sum, expected_y, expected_stats);
        for (const int alias : {0, 1, 2}) {
          Tensor left = copy(x), right = copy(delta), y = poisoned(shape, dtype);
          Tensor sum = alias == 0 ? poisoned(shape, dtype) : alias == 1 ? left : right;
          add_norm_forward(stream, weights, left, right, sum, y, stats);
          EXPECT_TRUE(same_bits(sum, expected_sum));
          EXPECT_TRUE(same_bits(y, expected_y));
          EXPECT_TRUE(same_bits(stats, expected_stats));
        }
      }
    }
  }
}

TEST(Norm, BackwardMatchesTheReference) {
  const Stream stream = Stream::cpu(2);
  for (const NormKind kind : kKinds) {
    for (const DType dtype : kFloats) {
      for (const int64_t rows : kRows) {
        for (const int64_t columns : kColumns) {
          const DType wide = accumulation_dtype(dtype);
          const Shape shape{rows, columns};
          const Tensor x = random(shape, dtype, 1), dy = random(shape, dtype, 2), residual = random(shape, dtype, 3);
          const NormWeights weights = random_weights(kind, columns, dtype);
          const Reference expected = reference(weights, x, dy, residual);
          const Tensor stats = tensor_of({rows, 2}, wide, expected.stats);
          Tensor dx = poisoned(shape, dtype), partials = poisoned({kind == NormKind::layer ? 2 : 1, columns}, wide);
          norm_backward(stream, weights, dy, x, stats, residual, dx, partials);
          // Inverse deviations go up to 1/√eps where columns are few and nearly equal.
          const double spread = columns > 3 ? 16 : 4096;
          expect_near(dx, expected.dx, spread * epsilon(columns > 3 ? dtype : wide) + 2 * epsilon(dtype), "dx");
          expect_near(partials, expected.partials, 16 * spread * epsilon(wide), "partials");
          for (const int alias : {1, 2}) {
            Tensor left = copy(dy), right = copy(residual), other = poisoned(partials.shape(), wide);
            Tensor& out = alias == 1 ? left : right;
            norm_backward(stream, weights, left, x, stats, right, out, other);
            EXPECT_TRUE(same_bits(dx, out));
            EXPECT_TRUE(same_bits(partials, other));
          }
        }
      }
    }
  }
}

TEST(Norm, FiniteDifferences) {
  const Stream stream = Stream::cpu(1);
  for (const NormKind kind : kKinds) {
    NormWeights weights = random_weights(kind, 17, DType::fp64);
    Tensor x = random({5, 17}, DType::fp64, 1), y = poisoned(x.shape(), DType::fp64);
    Tensor stats = poisoned({5, 2}, DType::fp64), dx = poisoned(x.shape(), DType::fp64);
    Tensor partials = poisoned({kind == NormKind::layer ? 2 : 1, 17}, DType::fp64);
    const Tensor dy = random(x.shape(), DType::fp64, 2);
    const auto loss = [&] { return norm_forward(stream, weights, x, y, stats), dot(y, dy); };
    (void)loss();
    norm_backward(stream, weights, dy, x, stats, {}, dx, partials);
    expect_gradient(x, dx, loss);
    expect_gradient(weights.gain, partials.slice(0, 1), loss);
    if (kind == NormKind::layer) expect_gradient(weights.bias, partials.slice(1, 1), loss);
  }
}

TEST(Norm, ZeroRowsAndLargeRowsStayFinite) {
  const Stream stream = Stream::cpu(1);
  for (const NormKind kind : kKinds) {
    for (const double value : {0.0, 1e4}) {
      const Tensor x = filled({2, 33}, DType::fp32, value), dy = random({2, 33}, DType::fp32, 1);
      const NormWeights weights = random_weights(kind, 33, DType::fp32);
      Tensor y = poisoned(x.shape(), DType::fp32), stats = poisoned({2, 2}, DType::fp32);
      Tensor dx = poisoned(x.shape(), DType::fp32);
      Tensor partials = poisoned({kind == NormKind::layer ? 2 : 1, 33}, DType::fp32);
      norm_forward(stream, weights, x, y, stats);
      norm_backward(stream, weights, dy, x, stats, {}, dx, partials);
      expect_near(y, reference(weights, x, dy, {}).y, 1e-5);
      for (const Tensor& tensor : {dx, partials}) {
        for (const double found : values_of(tensor)) EXPECT_TRUE(std::isfinite(found));
      }
    }
  }
}

TEST(Norm, ThreadsDoNotChangeBits) {
  for (const NormKind kind : kKinds) {
    const Tensor x = random({1030, 255}, DType::fp32, 1), dy = random(x.shape(), DType::fp32, 2);
    const NormWeights weights = random_weights(kind, 255, DType::fp32);
    expect_same_for_any_threads([&](const Stream& stream) {
      Tensor sum = poisoned(x.shape(), DType::fp32), y = copy(sum), dx = copy(sum);
      Tensor stats = poisoned({1030, 2}, DType::fp32);
      Tensor partials = poisoned({kind == NormKind::layer ? 2 : 1, 255}, DType::fp32);
      add_norm_forward(stream, weights, x, dy, sum, y, stats);
      norm_backward(stream, weights, dy, sum, stats, dy, dx, partials);
      return std::vector<Tensor>{sum, y, stats, dx, partials};
    });
  }
}

TEST(Norm, MetaDoesNothingAndNoRowsGiveZeroGradients) {
  HeapAllocator meta(Device::meta());
  Tensor x = meta.allocate({1 << 20, 1 << 12}, DType::bf16), stats = meta.allocate({1 << 20, 2}, DType::fp32);
  Tensor partials = meta.allocate({1, 1 << 12}, DType::fp32);
  const NormWeights weights{NormKind::rms, 1e-5, meta.allocate({1 << 12}, DType::bf16), {}};
  norm_forward(Stream::meta(), weights, x, x, stats);
  add_norm_forward(Stream::meta(), weights, x, x, x, x, stats);
  norm_recompute(Stream::meta(), weights, x, stats, x);
  norm_backward(Stream::meta(), weights, x, x, stats, {}, x, partials);

  Tensor none = filled({0, 5}, DType::fp32, 0), no_stats = filled({0, 2}, DType::fp32, 0);
  Tensor sums = poisoned({1, 5}, DType::fp32);
  norm_backward(Stream::cpu(1), random_weights(NormKind::rms, 5, DType::fp32), none, none, no_stats, {}, none, sums);
  expect_near(sums, Values(5, 0.0), 0.0);
}

}  // namespace
}  // namespace trident
