#include "kernels/elementwise.h"

#include "tests/kernels/cuda/gpu.h"

namespace trident::testing {
namespace {

using CudaElementwise = GpuTest;

TEST_F(CudaElementwise, AddsAsTheCpuDoes) {
  for (const DType dtype : {DType::fp64, DType::fp32, DType::bf16}) {
    for (const int64_t count : {1, 7, 1000, 70001}) {
      const Tensor a = random_tensor({count}, dtype, 1), b = random_tensor({count}, dtype, 2);
      Tensor expected = poisoned({count}, dtype), out = poisoned_on_gpu({count}, dtype);
      add(cpu, a, b, expected);
      add(gpu, upload(a), upload(b), out);
      EXPECT_TRUE(same_bits(download(out), expected)) << to_string(dtype) << " " << count;
    }
  }
}

TEST_F(CudaElementwise, CastsAsTheCpuDoes) {
  for (const DType from : {DType::fp64, DType::fp32, DType::bf16}) {
    for (const DType to : {DType::fp64, DType::fp32, DType::bf16}) {
      for (const int64_t count : {1, 7, 1000, 70001}) {
        const Tensor x = random_tensor({count}, from, 3);
        Tensor expected = poisoned({count}, to), out = poisoned_on_gpu({count}, to);
        cast(cpu, x, expected);
        cast(gpu, upload(x), out);
        EXPECT_TRUE(same_bits(download(out), expected)) << to_string(from) << " to " << to_string(to) << " " << count;
      }
    }
  }
}

}  // namespace
}  // namespace trident::testing
