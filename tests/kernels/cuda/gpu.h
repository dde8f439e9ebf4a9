#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "core/cuda_devices.h"
#include "core/memory.h"
#include "tests/kernels/random_tensors.h"

/// What the GPU tests share: each runs a kernel on the GPU and on the CPU in fp64, on the same (rounded) inputs.
namespace trident::testing {

class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (cuda_device_names().empty()) GTEST_SKIP() << "no GPU";
    gpu = Stream::cuda(0, 2);
  }

  [[nodiscard]] Tensor upload(const Tensor& host) const {
    Tensor device = allocate_zeroed(gpu.device(), host.shape(), host.dtype());
    copy(gpu, host, device);
    gpu.synchronize();
    return device;
  }
  /// An output that no kernel has written yet: every float is NaN.
  [[nodiscard]] Tensor poisoned_on_gpu(Shape shape, DType dtype) const { return upload(poisoned(shape, dtype)); }
  /// What lies on the device once all work is done.
  [[nodiscard]] Tensor download(const Tensor& device) const { return to_host(gpu, device); }

  Stream gpu = Stream::meta();
  Stream cpu = Stream::cpu(2);
};

/// The same values in fp64.
inline Tensor in_fp64(const Tensor& tensor) {
  Tensor wide = HeapAllocator().allocate(tensor.shape(), DType::fp64);
  for (int64_t i = 0; i < tensor.elements(); ++i) set(wide, i, get(tensor, i));
  return wide;
}

/// |found − expected| / |expected| over all elements (2-norms); infinite where anything found is not finite.
inline double relative_error(const Tensor& found, const Tensor& expected) {
  EXPECT_EQ(found.elements(), expected.elements());
  double difference = 0.0, size = 0.0;
  for (int64_t i = 0; i < found.elements(); ++i) {
    const double x = get(found, i), y = get(expected, i);
    if (!std::isfinite(x)) return HUGE_VAL;
    difference += (x - y) * (x - y);
    size += y * y;
  }
  return size == 0.0 ? std::sqrt(difference) : std::sqrt(difference / size);
}

/// The relative error that a kernel may have which rounds its result to `dtype` and computes in its accumulator.
inline double allowed_error(DType dtype) {
  switch (dtype) {
    case DType::fp64: return 1e-12;
    case DType::fp32: return 2e-5;
    case DType::bf16: return 8e-3;
    case DType::int32: break;
  }
  return 0.0;
}

}  // namespace trident::testing
