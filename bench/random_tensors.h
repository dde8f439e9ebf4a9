#pragma once

#include <cstdint>

#include "core/allocator.h"
#include "core/philox.h"

/// What the programs that time kernels work on, in the host's memory; the same in every run.
namespace trident::bench {

/// Standard normal, fp32.
inline Tensor random_normal(const Shape& shape) {
  Tensor tensor = HeapAllocator().allocate(shape, DType::fp32);
  RandomStream(1, "bench").normal(0, {tensor.data<float>(), static_cast<size_t>(tensor.elements())});
  return tensor;
}

/// Uniform in [0, limit), int32.
inline Tensor random_indices(const Shape& shape, int64_t limit) {
  Tensor tensor = HeapAllocator().allocate(shape, DType::int32);
  const RandomStream stream(2, "bench");
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    const double u = stream.uniform(static_cast<uint64_t>(i));
    tensor.data<int32_t>()[i] = static_cast<int32_t>(u * static_cast<double>(limit));
  }
  return tensor;
}

}  // namespace trident::bench
