#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "core/allocator.h"
#include "core/device.h"
#include "core/philox.h"

/// What the kernel tests share: tensors filled from, and read as, plain vectors of double.
namespace trident::testing {

inline constexpr DType kFloats[] = {DType::fp64, DType::fp32, DType::bf16};
inline constexpr int64_t kColumns[] = {1, 3, 17, 255, 1000};
inline constexpr int64_t kRows[] = {1, 2, 7, 130};

using Values = std::vector<double>;

/// Relative error of one rounding to `dtype`.
inline double epsilon(DType dtype) { return dtype == DType::fp64 ? 1.2e-16 : dtype == DType::fp32 ? 6e-8 : 1.0 / 256; }

inline double element(const Tensor& tensor, int64_t i) {
  switch (tensor.dtype()) {
    case DType::fp64: return tensor.data<double>()[i];
    case DType::fp32: return static_cast<double>(tensor.data<float>()[i]);
    case DType::bf16: return static_cast<double>(static_cast<float>(tensor.data<bfloat16>()[i]));
    case DType::int32: return tensor.data<int32_t>()[i];
  }
  return 0;
}

inline void set_element(Tensor& tensor, int64_t i, double value) {
  switch (tensor.dtype()) {
    case DType::fp64: tensor.data<double>()[i] = value; break;
    case DType::fp32: tensor.data<float>()[i] = static_cast<float>(value); break;
    case DType::bf16: tensor.data<bfloat16>()[i] = bfloat16(static_cast<float>(value)); break;
    case DType::int32: tensor.data<int32_t>()[i] = static_cast<int32_t>(value); break;
  }
}

inline Values values_of(const Tensor& tensor) {
  Values values(static_cast<size_t>(tensor.elements()));
  for (size_t i = 0; i < values.size(); ++i) values[i] = element(tensor, static_cast<int64_t>(i));
  return values;
}

/// A tensor of NaN: what a kernel does not write, a comparison finds.
inline Tensor poisoned(Shape shape, DType dtype) {
  Tensor tensor = HeapAllocator().allocate(shape, dtype);
  for (int64_t i = 0; i < tensor.elements(); ++i) set_element(tensor, i, std::numeric_limits<double>::quiet_NaN());
  return tensor;
}

inline Tensor filled(Shape shape, DType dtype, double value) {
  Tensor tensor = HeapAllocator().allocate(shape, dtype);
  for (int64_t i = 0; i < tensor.elements(); ++i) set_element(tensor, i, value);
  return tensor;
}

inline Tensor tensor_of(Shape shape, DType dtype, const Values& values) {
  Tensor tensor = HeapAllocator().allocate(shape, dtype);
  for (int64_t i = 0; i < tensor.elements(); ++i) set_element(tensor, i, values[static_cast<size_t>(i)]);
  return tensor;
}

/// Uniform in [−scale, scale), the same for the same seed.
inline Tensor random(Shape shape, DType dtype, uint64_t seed, double scale = 2.0) {
  const RandomStream stream(seed, "kernel test");
  Tensor tensor = HeapAllocator().allocate(shape, dtype);
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    set_element(tensor, i, scale * (2 * stream.uniform(static_cast<uint64_t>(i)) - 1));
  }
  return tensor;
}

/// Uniform integers in [lowest, size).
inline Tensor random_indices(Shape shape, int64_t lowest, int64_t size, uint64_t seed) {
  const RandomStream stream(seed, "kernel test");
  Tensor tensor = HeapAllocator().allocate(shape, DType::int32);
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    const double u = stream.uniform(static_cast<uint64_t>(i));
    set_element(tensor, i, std::floor(static_cast<double>(lowest) + u * static_cast<double>(size - lowest)));
  }
  return tensor;
}

inline Tensor copy(const Tensor& from) {
  Tensor to = HeapAllocator().allocate(from.shape(), from.dtype());
  if (from.bytes() > 0) std::memcpy(to.raw(), from.raw(), from.bytes());
  return to;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

/// |found − expected| <= tolerance·(1 + |expected|) everywhere. Reports the first element that is not.
inline void expect_near(const Tensor& found, const Values& expected, double tolerance, const std::string& what = "") {
  ASSERT_EQ(found.elements(), static_cast<int64_t>(expected.size())) << what;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double value = element(found, static_cast<int64_t>(i));
    const double limit = tolerance * (1 + std::abs(expected[i]));
    ASSERT_TRUE(std::abs(value - expected[i]) <= limit)
        << what << " element " << i << " of " << found.shape().to_string() << " " << to_string(found.dtype())
        << ": found " << value << ", expected " << expected[i] << " ± " << limit;
  }
}

/// Runs `compute` with 1, 2, 3 and 5 threads; all must return the same bits.
inline void expect_same_for_any_threads(const std::function<std::vector<Tensor>(const Stream&)>& compute) {
  const auto expected = compute(Stream::cpu(1));
  for (const int threads : {2, 3, 5}) {
    const auto found = compute(Stream::cpu(threads));
    for (size_t i = 0; i < expected.size(); ++i) {
      EXPECT_TRUE(same_bits(expected[i], found[i])) << "output " << i << " with " << threads << " threads";
    }
  }
}

/// `gradient` against central differences of `loss` in every element of `x` (fp64, changed and restored).
inline void expect_gradient(Tensor& x, const Tensor& gradient, const std::function<double()>& loss,
                            double tolerance = 1e-7) {
  ASSERT_EQ(x.dtype(), DType::fp64);
  constexpr double kStep = 1e-5;
  Values expected;
  for (int64_t i = 0; i < x.elements(); ++i) {
    const double value = x.data<double>()[i];
    x.data<double>()[i] = value + kStep;
    const double above = loss();
    x.data<double>()[i] = value - kStep;
    const double below = loss();
    x.data<double>()[i] = value;
    expected.push_back((above - below) / (2 * kStep));
  }
  expect_near(gradient, expected, tolerance, "finite differences,");
}

/// Σ a·b: the loss whose gradient with respect to `a` is `b`.
inline double dot(const Tensor& a, const Tensor& b) {
  double sum = 0;
  for (int64_t i = 0; i < a.elements(); ++i) sum += element(a, i) * element(b, i);
  return sum;
}

}  // namespace trident::testing
