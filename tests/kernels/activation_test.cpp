#include "kernels/activation.h"

#include <gtest/gtest.h>

#include "tests/kernels/tensors.h"

namespace trident {
namespace {

using namespace testing;

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

double gelu(double x) { return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x))); }

double gelu_slope(double x) {
  const double c = std::sqrt(2 / M_PI);
  const double t = std::tanh(c * (x + 0.044715 * x * x * x));
  return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x);
}

/// In fp64 it is the reference that loses digits, to 1 − tanh².
double tolerance(DType dtype) { return dtype == DType::fp64 ? 1e-13 : 8 * epsilon(dtype); }

struct Swiglu {
  Values y, dx;
};

Swiglu reference_swiglu(const Values& x, const Values& dy, int64_t rows, int64_t columns) {
  Swiglu out{Values(dy.size()), Values(x.size())};
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t j = 0; j < columns; ++j) {
      const auto at = static_cast<size_t>(row * columns + j);
      const auto g = static_cast<size_t>(row * 2 * columns + j), u = g + static_cast<size_t>(columns);
      const double s = sigmoid(x[g]);
      out.y[at] = x[g] * s * x[u];
      out.dx[g] = dy[at] * x[u] * s * (1 + x[g] * (1 - s));
      out.dx[u] = dy[at] * x[g] * s;
    }
  }
  return out;
}

struct Passes {
  decltype(&gelu_forward) forward;
  decltype(&gelu_backward) backward;
};

/// With and without y, and in place.
void expect_matches(const Passes& passes, const Tensor& x, const Tensor& dy, const Values& y_expected,
                    const Values& dx_expected) {
  const Stream stream = Stream::cpu(2);
  const DType dtype = x.dtype();
  Tensor y = poisoned(dy.shape(), dtype), dx = poisoned(x.shape(), dtype);
  passes.forward(stream, x, y);
  expect_near(y, y_expected, tolerance(dtype), "y");
  Tensor none, again = poisoned(y.shape(), dtype);
  passes.backward(stream, dy, x, dx, again);
  expect_near(dx, dx_expected, tolerance(dtype), "dx");
  EXPECT_TRUE(same_bits(y, again));
  Tensor in_place = copy(x);
  passes.backward(stream, dy, in_place, in_place, none);
  EXPECT_TRUE(same_bits(dx, in_place));
}

TEST(Activation, SwigluMatchesTheReference) {
  for (const DType dtype : kFloats) {
    for (const int64_t rows : kRows) {
      for (const int64_t columns : kColumns) {
        const Tensor x = random({rows, 2 * columns}, dtype, 1, 9.0), dy = random({rows, columns}, dtype, 2);
        const Swiglu expected = reference_swiglu(values_of(x), values_of(dy), rows, columns);
        expect_matches({swiglu_forward, swiglu_backward}, x, dy, expected.y, expected.dx);
      }
    }
  }
}

TEST(Activation, GeluMatchesTheReference) {
  for (const DType dtype : kFloats) {
    for (const int64_t rows : kRows) {
      for (const int64_t columns : kColumns) {
        const Tensor x = random({rows, columns}, dtype, 1, 6.0), dy = random({rows, columns}, dtype, 2);
        Values expected, expected_dx;
        for (int64_t i = 0; i < x.elements(); ++i) {
          expected.push_back(gelu(element(x, i)));
          expected_dx.push_back(element(dy, i) * gelu_slope(element(x, i)));
        }
        expect_matches({gelu_forward, gelu_backward}, x, dy, expected, expected_dx);
      }
    }
  }
}

TEST(Activation, FiniteDifferences) {
  const Stream stream = Stream::cpu(1);
  Tensor x = random({3, 34}, DType::fp64, 1, 4.0), dx = poisoned(x.shape(), DType::fp64), none;
  const Tensor dy = random({3, 17}, DType::fp64, 2), dy_gelu = random({3, 34}, DType::fp64, 3);
  Tensor y = poisoned(dy.shape(), DType::fp64), y_gelu = poisoned(x.shape(), DType::fp64);
  swiglu_backward(stream, dy, x, dx, none);
  expect_gradient(x, dx, [&] { return swiglu_forward(stream, x, y), dot(y, dy); });
  gelu_backward(stream, dy_gelu, x, dx, none);
  expect_gradient(x, dx, [&] { return gelu_forward(stream, x, y_gelu), dot(y_gelu, dy_gelu); });
}

TEST(Activation, LargeInputsSaturate) {
  const Stream stream = Stream::cpu(1);
  const Values large = {-1e30, -1e3, -90, -88, -87.5, -0.0, 0.0, 87.5, 88, 90, 1e3, 1e30};
  for (const DType dtype : kFloats) {
    const auto n = static_cast<int64_t>(large.size());
    const Tensor x = tensor_of({1, n}, dtype, large), ones = filled({1, n}, dtype, 1.0);
    Tensor y = poisoned({1, n}, dtype), dx = poisoned({1, n}, dtype);
    gelu_backward(stream, ones, x, dx, y);
    Tensor gated = poisoned({n, 2}, dtype), d_gated = poisoned({n, 2}, dtype);
    for (int64_t i = 0; i < n; ++i) {
      set_element(gated, 2 * i, large[static_cast<size_t>(i)]);
      set_element(gated, 2 * i + 1, 1.0);
    }
    Tensor y_gated = poisoned({n, 1}, dtype);
    const Tensor column = filled({n, 1}, dtype, 1.0);
    swiglu_backward(stream, column, gated, d_gated, y_gated);
    for (int64_t i = 0; i < n; ++i) {
      const double value = element(x, i), expected = std::max(value, 0.0);
      const double slope = value > 0 ? 1.0 : value < 0 ? 0.0 : 0.5;
      EXPECT_NEAR(element(y, i), expected, 1e-30);
      EXPECT_NEAR(element(dx, i), slope, 1e-30);
      EXPECT_NEAR(element(y_gated, i), expected, 1e-30);
      EXPECT_NEAR(element(d_gated, 2 * i), slope, 1e-30);
    }
  }
}

TEST(Activation, ThreadsDoNotChangeBits) {
  const Tensor x = random({130, 2000}, DType::fp32, 1), dy = random({130, 1000}, DType::fp32, 2);
  expect_same_for_any_threads([&](const Stream& stream) {
    Tensor dx = poisoned(x.shape(), x.dtype()), y = poisoned(dy.shape(), x.dtype());
    Tensor dx_gelu = poisoned(dy.shape(), x.dtype()), y_gelu = poisoned(dy.shape(), x.dtype());
    swiglu_backward(stream, dy, x, dx, y);
    gelu_backward(stream, dy, dy, dx_gelu, y_gelu);
    return std::vector<Tensor>{dx, y, dx_gelu, y_gelu};
  });
}

TEST(Activation, MetaDoesNothingAndShapesAreChecked) {
  HeapAllocator meta(Device::meta());
  Tensor x = meta.allocate({1 << 20, 1 << 12}, DType::bf16), y = meta.allocate({1 << 20, 1 << 11}, DType::bf16), none;
  swiglu_forward(Stream::meta(), x, y);
  swiglu_backward(Stream::meta(), y, x, x, y);
  gelu_forward(Stream::meta(), x, x);
  gelu_backward(Stream::meta(), x, x, x, none);
  EXPECT_THROW(gelu_forward(Stream::meta(), x, y), Error);
  EXPECT_THROW(swiglu_forward(Stream::meta(), x, x), Error);
}

}  // namespace
}  // namespace trident
