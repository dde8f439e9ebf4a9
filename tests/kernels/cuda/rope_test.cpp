#include "kernels/rope.h"

#include "tests/kernels/cuda/gpu.h"

namespace trident::testing {
namespace {

using CudaRope = GpuTest;

constexpr DType kFloats[] = {DType::fp64, DType::fp32, DType::bf16};

TEST_F(CudaRope, TableAgreesWithTheCpu) {
  for (const DType dtype : {DType::fp64, DType::fp32}) {
    for (const int64_t head_dim : {2, 6, 64, 600}) {
      Tensor expected = poisoned({1025, head_dim}, dtype), table = poisoned_on_gpu({1025, head_dim}, dtype);
      rope_table(cpu, 10000.0, expected);
      rope_table(gpu, 10000.0, table);
      const Tensor found = download(table);
      const double unit = dtype == DType::fp64 ? 0x1p-51 : 0x1p-23;
      for (int64_t i = 0; i < expected.elements(); ++i) {
        const double value = get(expected, i);
        ASSERT_NEAR(get(found, i), value, unit * std::abs(value)) << "head_dim " << head_dim << ", element " << i;
      }
    }
  }
}

TEST_F(CudaRope, RotatesAsTheCpuDoes) {
  for (const DType dtype : kFloats) {
    for (const int64_t head_dim : {2, 6, 16, 34, 64, 128}) {
      for (const AttentionShape& shape : {AttentionShape{2, 13, 3, 1, head_dim}, AttentionShape{3, 1, 4, 4, head_dim},
                                          AttentionShape{1, 70, 12, 3, head_dim}}) {
        for (const RopeDirection direction : {RopeDirection::forward, RopeDirection::backward}) {
          Tensor table = poisoned({100, head_dim}, accumulation_dtype(dtype));
          rope_table(cpu, 10000.0, table);
          const Tensor x = random_tensor({shape.batch * shape.sequence, shape.qkv_columns()}, dtype, 1);
          Tensor wide_table = in_fp64(table), expected = in_fp64(x);
          rope(cpu, shape, wide_table, 27, direction, expected);
          Tensor qkv = upload(x), again = upload(x);
          rope(gpu, shape, upload(table), 27, direction, qkv);
          rope(gpu, shape, upload(table), 27, direction, again);
          const Tensor found = download(qkv);
          EXPECT_LE(relative_error(found, expected), allowed_error(dtype)) << to_string(dtype) << " " << head_dim;
          EXPECT_TRUE(same_bits(found, download(again)));
          // Values do not turn.
          const int64_t first_value = (shape.heads + shape.kv_heads) * head_dim;
          for (int64_t i = 0; i < x.elements(); ++i) {
            if (i % shape.qkv_columns() < first_value) continue;
            ASSERT_EQ(get(found, i), get(x, i)) << i;
          }
        }
      }
    }
  }
}

TEST_F(CudaRope, UnalignedMemoryHasTheSameBits) {
  for (const DType dtype : kFloats) {
    const AttentionShape shape{2, 5, 3, 2, 32};
    Tensor table = poisoned_on_gpu({9, 32}, accumulation_dtype(dtype));
    rope_table(gpu, 10000.0, table);
    const Tensor x = random_tensor({10, shape.qkv_columns()}, dtype, 1);
    const Tensor larger = allocate_zeroed(gpu.device(), {x.elements() + 1}, dtype);
    Tensor qkv = upload(x), shifted = larger.flat_view(1, x.shape());
    copy(gpu, x, shifted);
    rope(gpu, shape, table, 3, RopeDirection::forward, qkv);
    rope(gpu, shape, table, 3, RopeDirection::forward, shifted);
    EXPECT_TRUE(same_bits(download(qkv), download(shifted)));
  }
}

}  // namespace
}  // namespace trident::testing
