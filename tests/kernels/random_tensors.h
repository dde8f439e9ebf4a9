#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "core/allocator.h"
#include "core/tensor.h"

namespace trident::testing {

inline double get(const Tensor& tensor, int64_t i) {
  switch (tensor.dtype()) {
    case DType::fp64: return tensor.data<double>()[i];
    case DType::fp32: return static_cast<double>(tensor.data<float>()[i]);
    case DType::bf16: return static_cast<double>(static_cast<float>(tensor.data<bfloat16>()[i]));
    case DType::int32: return tensor.data<int32_t>()[i];
  }
  return 0.0;
}

inline void set(Tensor& tensor, int64_t i, double value) {
  switch (tensor.dtype()) {
    case DType::fp64: tensor.data<double>()[i] = value; return;
    case DType::fp32: tensor.data<float>()[i] = static_cast<float>(value); return;
    case DType::bf16: tensor.data<bfloat16>()[i] = bfloat16(static_cast<float>(value)); return;
    case DType::int32: tensor.data<int32_t>()[i] = static_cast<int32_t>(value); return;
  }
}

inline Tensor filled(Shape shape, DType dtype, double value) {
  Tensor tensor = HeapAllocator().allocate(shape, dtype);
  for (int64_t i = 0; i < tensor.elements(); ++i) set(tensor, i, value);
  return tensor;
}

/// An output that no kernel has written yet: whatever reads it first spreads NaN.
inline Tensor poisoned(Shape shape, DType dtype) { return filled(shape, dtype, std::nan("")); }

/// Uniform in [-1, 1), the same for the same seed.
inline Tensor random_tensor(Shape shape, DType dtype, uint32_t seed) {
  Tensor tensor = HeapAllocator().allocate(shape, dtype);
  std::mt19937 generator(seed);
  std::uniform_real_distribution<double> uniform(-1.0, 1.0);
  for (int64_t i = 0; i < tensor.elements(); ++i) set(tensor, i, uniform(generator));
  return tensor;
}

inline std::vector<double> values(const Tensor& tensor) {
  std::vector<double> out(static_cast<size_t>(tensor.elements()));
  for (int64_t i = 0; i < tensor.elements(); ++i) out[static_cast<size_t>(i)] = get(tensor, i);
  return out;
}

inline bool same_bits(const Tensor& a, const Tensor& b) {
  return a.bytes() == b.bytes() && std::memcmp(a.raw(), b.raw(), a.bytes()) == 0;
}

/// |found − expected| ≤ tolerance · scale for every element.
inline void expect_close(const Tensor& found, const std::vector<double>& expected, double tolerance, double scale = 1) {
  ASSERT_EQ(static_cast<size_t>(found.elements()), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const double value = get(found, static_cast<int64_t>(i));
    ASSERT_TRUE(std::abs(value - expected[i]) <= tolerance * (scale + std::abs(expected[i])))
        << "element " << i << " is " << value << ", expected " << expected[i];
  }
}

/// Relative rounding error of one stored result, with room for the sums behind it.
inline double tolerance(DType dtype) { return dtype == DType::fp64 ? 1e-12 : dtype == DType::fp32 ? 1e-5 : 8e-3; }

}  // namespace trident::testing
