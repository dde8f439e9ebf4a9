#include "kernels/cuda/attention_flash.h"

#include "tests/kernels/cuda/gpu.h"

namespace trident::testing {
namespace {

TEST(Flash, SupportsItsTypesAndSizesOnly) {
  EXPECT_TRUE(cuda::flash_attention_supports({1, 8, 2, 1, 64}, DType::bf16));
  EXPECT_TRUE(cuda::flash_attention_supports({1, 8, 2, 1, 128}, DType::bf16));
  EXPECT_FALSE(cuda::flash_attention_supports({1, 8, 2, 1, 96}, DType::bf16));
  EXPECT_FALSE(cuda::flash_attention_supports({1, 8, 2, 1, 64}, DType::fp32));
}

struct AttentionResults {
  Tensor out, lse, dqkv;
};

struct Kernels {
  const char* name;
  decltype(&cuda::flash_attention_forward) forward;
  decltype(&cuda::flash_attention_backward) backward;
};
constexpr Kernels kBoth[] = {
    {"on warps", cuda::flash_attention_forward, cuda::flash_attention_backward},
    {"on warpgroups", cuda::flash_attention_forward_wgmma, cuda::flash_attention_backward_wgmma},
};

class CudaFlashAttention : public GpuTest {
 protected:
  using Results = AttentionResults;

  static Shape out_shape(const AttentionShape& s) { return {s.batch, s.sequence, s.heads * s.head_dim}; }
  static Shape lse_shape(const AttentionShape& s) { return {s.batch, s.heads, s.sequence}; }
  static Tensor random_qkv(const AttentionShape& s) {
    return random_tensor({s.batch, s.sequence, s.qkv_columns()}, DType::bf16, 1);
  }
  static Tensor random_dout(const AttentionShape& s) { return random_tensor(out_shape(s), DType::bf16, 2); }

  [[nodiscard]] Results on_gpu(const Kernels& kernels, const AttentionShape& s, const Tensor& qkv,
                               const Tensor& dout) const {
    const Tensor device_qkv = upload(qkv), device_dout = upload(dout);
    Tensor out = poisoned_on_gpu(out_shape(s), DType::bf16), lse = poisoned_on_gpu(lse_shape(s), DType::fp32);
    Tensor dqkv = poisoned_on_gpu(qkv.shape(), DType::bf16);
    kernels.forward(gpu, s, device_qkv, out, lse);
    kernels.backward(gpu, s, device_qkv, out, lse, device_dout, dqkv);
    return {download(out), download(lse), download(dqkv)};
  }
  [[nodiscard]] Results on_cpu(const AttentionShape& s, const Tensor& qkv, const Tensor& dout) const {
    Results result{poisoned(out_shape(s), DType::fp64), poisoned(lse_shape(s), DType::fp64),
                   poisoned(qkv.shape(), DType::fp64)};
    const Tensor wide = in_fp64(qkv);
    attention_forward(cpu, s, wide, result.out, result.lse);
    attention_backward(cpu, s, wide, result.out, result.lse, in_fp64(dout), result.dqkv);
    return result;
  }
};

/// Columns [begin, end) of every row, in fp64.
Tensor columns_of(const Tensor& tensor, int64_t begin, int64_t end) {
  Tensor part = HeapAllocator().allocate({tensor.rows(), end - begin}, DType::fp64);
  for (int64_t row = 0; row < tensor.rows(); ++row) {
    for (int64_t column = begin; column < end; ++column)
      set(part, row * (end - begin) + column - begin, get(tensor, row * tensor.columns() + column));
  }
  return part;
}

void expect_close(const AttentionShape& s, const AttentionResults& found, const AttentionResults& expected) {
  const double allowed = allowed_error(DType::bf16);
  EXPECT_LE(relative_error(found.out, expected.out), allowed);
  EXPECT_LE(relative_error(found.lse, expected.lse), allowed_error(DType::fp32));
  EXPECT_LE(relative_error(found.dqkv, expected.dqkv), allowed);
  if (s.sequence == 1) return;  // one key has all of the probability: no gradient but the value's
  const int64_t ends[] = {0, s.heads * s.head_dim, (s.heads + s.kv_heads) * s.head_dim, s.qkv_columns()};
  for (int part = 0; part < 3; ++part) {
    EXPECT_LE(relative_error(columns_of(found.dqkv, ends[part], ends[part + 1]),
                             columns_of(expected.dqkv, ends[part], ends[part + 1])),
              allowed)
        << "d"
        << "qkv"[part];
  }
}

TEST_F(CudaFlashAttention, MatchesTheCpu) {
  for (const int64_t sequence : {1, 17, 63, 64, 65, 127, 128, 129, 200, 384}) {
    for (const int64_t head_dim : {64, 128}) {
      for (const auto& [heads, kv_heads] : {std::pair{2, 2}, {4, 1}, {6, 2}}) {
        const AttentionShape s{sequence < 130 ? 2 : 1, sequence, heads, kv_heads, head_dim};
        SCOPED_TRACE("t " + std::to_string(sequence) + " d " + std::to_string(head_dim) + " h " +
                     std::to_string(heads) + "/" + std::to_string(kv_heads));
        const Tensor qkv = random_qkv(s), dout = random_dout(s);
        const Results expected = on_cpu(s, qkv, dout);
        for (const Kernels& kernels : kBoth) {
          SCOPED_TRACE(kernels.name);
          expect_close(s, on_gpu(kernels, s, qkv, dout), expected);
        }
      }
    }
  }
}

TEST_F(CudaFlashAttention, EveryRunReturnsTheSameBits) {
  for (const int64_t head_dim : {64, 128}) {
    const AttentionShape s{2, 333, 6, 2, head_dim};
    const Tensor qkv = random_qkv(s), dout = random_dout(s);
    for (const Kernels& kernels : kBoth) {
      SCOPED_TRACE(kernels.name);
      const Results first = on_gpu(kernels, s, qkv, dout);
      for (int run = 0; run < 3; ++run) {
        const Results again = on_gpu(kernels, s, qkv, dout);
        EXPECT_TRUE(same_bits(again.out, first.out));
        EXPECT_TRUE(same_bits(again.lse, first.lse));
        EXPECT_TRUE(same_bits(again.dqkv, first.dqkv));
      }
    }
  }
}

TEST_F(CudaFlashAttention, LargeScoresDoNotOverflow) {
  const AttentionShape s{1, 150, 2, 1, 128};
  Tensor qkv = random_qkv(s);
  for (int64_t i = 0; i < qkv.elements(); ++i) set(qkv, i, 16.0 * get(qkv, i));
  const Tensor dout = random_dout(s);
  const Results expected = on_cpu(s, qkv, dout);
  for (const Kernels& kernels : kBoth) {
    SCOPED_TRACE(kernels.name);
    const Results found = on_gpu(kernels, s, qkv, dout);
    EXPECT_LE(relative_error(found.out, expected.out), allowed_error(DType::bf16));
    EXPECT_LE(relative_error(found.lse, expected.lse), allowed_error(DType::fp32));
    for (const double value : values(found.dqkv)) ASSERT_TRUE(std::isfinite(value));
  }
}

// Products of whole tiles carry it a little further back in the gradients: zero times NaN is NaN.
TEST_F(CudaFlashAttention, NanInOnePositionReachesItsTileAndItsFutureOnly) {
  const AttentionShape s{1, 150, 1, 1, 64};
  Tensor qkv = random_qkv(s);
  set(qkv, 70 * s.qkv_columns() + 64, std::nan(""));  // a key
  const Tensor dout = random_dout(s);
  for (const Kernels& kernels : kBoth) {
    SCOPED_TRACE(kernels.name);
    const Results found = on_gpu(kernels, s, qkv, dout);
    for (int64_t t = 0; t < s.sequence; ++t) {
      EXPECT_EQ(std::isnan(get(found.out, t * 64)), t >= 70) << t;
      if (t >= 64 && t < 70) continue;
      EXPECT_EQ(std::isnan(get(found.dqkv, t * s.qkv_columns())), t >= 70) << t;
    }
  }
}

TEST_F(CudaFlashAttention, NothingIsDoneForNothing) {
  const AttentionShape s{0, 10, 2, 1, 64};
  const Tensor qkv = random_qkv(s), dout = random_dout(s);
  for (const Kernels& kernels : kBoth) EXPECT_EQ(on_gpu(kernels, s, qkv, dout).out.elements(), 0);
}

}  // namespace
}  // namespace trident::testing
