#include "kernels/cuda/attention.h"

#include <string>
#include <vector>

#include "core/error.h"
#include "kernels/attention.h"
#include "tests/kernels/cuda/gpu.h"

namespace trident::testing {
namespace {

using cuda::AttentionKernel;

constexpr DType kTypes[] = {DType::fp64, DType::fp32, DType::bf16};
constexpr AttentionKernel kKernels[] = {AttentionKernel::plain, AttentionKernel::flash, AttentionKernel::wgmma,
                                        AttentionKernel::cudnn};

std::string name_of(AttentionKernel kernel) {
  switch (kernel) {
    case AttentionKernel::automatic: return "automatic";
    case AttentionKernel::plain: return "plain";
    case AttentionKernel::flash: return "flash";
    case AttentionKernel::wgmma: return "wgmma";
    case AttentionKernel::cudnn: return "cudnn";
  }
  return "";
}

/// The plain kernel rounds nothing but its results. The others round probabilities and score gradients to bf16 too,
/// before the products with them: a second error of the same size.
double allowed_error_of(AttentionKernel kernel, DType dtype) {
  return kernel == AttentionKernel::plain ? allowed_error(dtype) : 2 * allowed_error(dtype);
}

/// Columns [first, first + count) of every row.
Tensor columns_of(const Tensor& rows, int64_t columns, int64_t first, int64_t count) {
  Tensor part = HeapAllocator().allocate({rows.elements() / columns, count}, rows.dtype());
  for (int64_t i = 0; i < part.elements(); ++i) set(part, i, get(rows, i / count * columns + first + i % count));
  return part;
}

/// The 2-norm; infinite where anything is not finite.
double norm(const Tensor& tensor) {
  double sum = 0.0;
  for (int64_t i = 0; i < tensor.elements(); ++i) sum += get(tensor, i) * get(tensor, i);
  return std::isfinite(sum) ? std::sqrt(sum) : HUGE_VAL;
}

Tensor difference(const Tensor& a, const Tensor& b) {
  Tensor result = HeapAllocator().allocate(a.shape(), DType::fp64);
  for (int64_t i = 0; i < a.elements(); ++i) set(result, i, get(a, i) - get(b, i));
  return result;
}

Tensor out_of(const AttentionShape& s, DType dtype) {
  return poisoned({s.batch, s.sequence, s.heads * s.head_dim}, dtype);
}
Tensor lse_of(const AttentionShape& s, DType dtype) { return poisoned({s.batch, s.heads, s.sequence}, dtype); }
Tensor qkv_of(const AttentionShape& s, DType dtype) { return poisoned({s.batch, s.sequence, s.qkv_columns()}, dtype); }

/// Inputs of one case and, in fp64, what both passes make of them.
struct Case {
  Case(const Stream& cpu, const AttentionShape& s, DType type)
      : shape(s),
        dtype(type),
        qkv(random_tensor({s.batch, s.sequence, s.qkv_columns()}, type, 1)),
        dout(random_tensor({s.batch, s.sequence, s.heads * s.head_dim}, type, 2)),
        expected_out(out_of(s, DType::fp64)),
        expected_lse(lse_of(s, DType::fp64)),
        expected_dqkv(qkv_of(s, DType::fp64)),
        out(out_of(s, type)),
        lse(lse_of(s, accumulation_dtype(type))) {
    const Tensor wide = in_fp64(qkv);
    attention_forward(cpu, s, wide, expected_out, expected_lse);
    for (int64_t i = 0; i < out.elements(); ++i) set(out, i, get(expected_out, i));
    for (int64_t i = 0; i < lse.elements(); ++i) set(lse, i, get(expected_lse, i));
    attention_backward(cpu, s, wide, in_fp64(out), in_fp64(lse), in_fp64(dout), expected_dqkv);
  }

  [[nodiscard]] std::string name() const {
    return std::string(to_string(dtype)) + " batch " + std::to_string(shape.batch) + " sequence " +
           std::to_string(shape.sequence) + " heads " + std::to_string(shape.heads) + "/" +
           std::to_string(shape.kv_heads) + " of " + std::to_string(shape.head_dim);
  }

  AttentionShape shape;
  DType dtype;
  Tensor qkv, dout, expected_out, expected_lse, expected_dqkv;
  Tensor out, lse;  ///< the expected ones, rounded: what the backward pass is given
};

class CudaAttention : public GpuTest {
 protected:
  void TearDown() override { cuda::use_attention_kernel(AttentionKernel::automatic); }

  struct Results {
    Tensor out, lse, dqkv;
  };

  [[nodiscard]] Results run(const Case& c) const {
    Results found{upload(poisoned(c.out.shape(), c.dtype)), upload(poisoned(c.lse.shape(), c.lse.dtype())),
                  upload(poisoned(c.qkv.shape(), c.dtype))};
    const Tensor qkv = upload(c.qkv);
    attention_forward(gpu, c.shape, qkv, found.out, found.lse);
    attention_backward(gpu, c.shape, qkv, upload(c.out), upload(c.lse), upload(c.dout), found.dqkv);
    return {download(found.out), download(found.lse), download(found.dqkv)};
  }

  void expect_gradients(const Case& c, const Tensor& found, double allowed) const {
    struct Part {
      const char* name;
      int64_t first_head, heads;
    };
    const AttentionShape& s = c.shape;
    for (const Part& part :
         {Part{"dq", 0, s.heads}, Part{"dk", s.heads, s.kv_heads}, Part{"dv", s.heads + s.kv_heads, s.kv_heads}}) {
      const auto columns = [&](const Tensor& rows) {
        return columns_of(rows, s.qkv_columns(), part.first_head * s.head_dim, part.heads * s.head_dim);
      };
      const Tensor expected = columns(c.expected_dqkv);
      // A sequence of one position has no gradients of queries and keys but rounding errors.
      const double scale = s.sequence == 1 ? norm(c.expected_dqkv) : norm(expected);
      EXPECT_LE(norm(difference(columns(found), expected)), allowed * scale) << part.name;
    }
  }

  void expect_as_on_cpu(const Case& c) const {
    for (const AttentionKernel kernel : kKernels) {
      if (!cuda::attention_kernel_supports(kernel, gpu, c.shape, c.dtype)) continue;
      SCOPED_TRACE(c.name() + ", " + name_of(kernel));
      cuda::use_attention_kernel(kernel);
      const double allowed = allowed_error_of(kernel, c.dtype);
      const Results found = run(c);
      EXPECT_LE(relative_error(found.out, c.expected_out), allowed);
      EXPECT_LE(relative_error(found.lse, c.expected_lse), allowed_error(c.lse.dtype()));
      expect_gradients(c, found.dqkv, allowed);
      const Results again = run(c);
      EXPECT_TRUE(same_bits(found.out, again.out) && same_bits(found.lse, again.lse) &&
                  same_bits(found.dqkv, again.dqkv))
          << "differs from run to run";
    }
  }
};

TEST_F(CudaAttention, IsAsOnTheCpuForEverySequence) {
  for (const DType dtype : kTypes) {
    for (const int64_t sequence : {1, 5, 63, 64, 65, 130, 256}) {
      expect_as_on_cpu(Case(cpu, {sequence < 64 ? 2 : 1, sequence, 4, 1, 64}, dtype));
    }
  }
}

TEST_F(CudaAttention, IsAsOnTheCpuForEveryHead) {
  for (const DType dtype : kTypes) {
    for (const int64_t head_dim : {1, 16, 17, 80, 128, 160, 256}) {
      expect_as_on_cpu(Case(cpu, {1, 70, 2, 1, head_dim}, dtype));
      expect_as_on_cpu(Case(cpu, {2, 37, 2, 2, head_dim}, dtype));
    }
    expect_as_on_cpu(Case(cpu, {2, 130, 6, 2, 128}, dtype));
    expect_as_on_cpu(Case(cpu, {1, 129, 6, 2, 80}, dtype));
  }
}

TEST_F(CudaAttention, TakesAnEmptyBatch) {
  const AttentionShape shape{0, 64, 4, 2, 64};
  Tensor out = upload(out_of(shape, DType::bf16)), lse = upload(lse_of(shape, DType::fp32));
  Tensor qkv = upload(qkv_of(shape, DType::bf16)), dqkv = upload(qkv_of(shape, DType::bf16));
  EXPECT_NO_THROW(attention_forward(gpu, shape, qkv, out, lse));
  EXPECT_NO_THROW(attention_backward(gpu, shape, qkv, out, lse, out, dqkv));
  EXPECT_NO_THROW(gpu.synchronize());
}

// One new position, a few, and a prompt, before and behind the edges of tiles. What lies behind the last position in
// the cache is not to be read.
TEST_F(CudaAttention, GeneratesAsTheCpuDoes) {
  struct Step {
    int64_t batch, sequence, first_position, heads, kv_heads, head_dim;
  };
  for (const DType dtype : kTypes) {
    for (const Step& step :
         {Step{1, 1, 0, 2, 1, 16}, Step{2, 1, 63, 4, 1, 64}, Step{1, 1, 300, 6, 2, 128}, Step{2, 5, 64, 4, 2, 80},
          Step{1, 15, 1, 2, 2, 256}, Step{2, 16, 0, 2, 1, 64}, Step{1, 40, 31, 6, 2, 128}, Step{1, 70, 60, 2, 2, 17}}) {
      const AttentionShape shape{step.batch, step.sequence, step.heads, step.kv_heads, step.head_dim};
      const int64_t filled = step.first_position + step.sequence, capacity = filled + 9;
      const Tensor qkv = random_tensor({shape.batch, shape.sequence, shape.qkv_columns()}, dtype, 1);
      Tensor keys = random_tensor({shape.batch, capacity, shape.kv_heads * shape.head_dim}, dtype, 2);
      Tensor values = random_tensor(keys.shape(), dtype, 3);
      const int64_t row = shape.kv_heads * shape.head_dim;
      for (int64_t i = 0; i < keys.elements(); ++i) {
        if (i / row % capacity < filled) continue;
        set(keys, i, std::nan(""));
        set(values, i, std::nan(""));
      }
      Tensor expected = out_of(shape, DType::fp64), out = upload(out_of(shape, dtype));
      attention_cached(cpu, shape, step.first_position, in_fp64(qkv), in_fp64(keys), in_fp64(values), expected);
      attention_cached(gpu, shape, step.first_position, upload(qkv), upload(keys), upload(values), out);
      EXPECT_LE(relative_error(download(out), expected), allowed_error(dtype))
          << to_string(dtype) << " positions " << step.first_position << " to " << filled << ", heads of "
          << shape.head_dim;
    }
  }
}

// A view that begins between 16-byte boundaries is not for the kernels that load whole packs.
TEST_F(CudaAttention, TakesTensorsThatAreNotAligned) {
  const Case c(cpu, {1, 64, 2, 1, 64}, DType::bf16);
  const Tensor buffer = upload(poisoned({c.qkv.elements() + 1}, DType::bf16));
  const Tensor qkv = buffer.slice(1, c.qkv.elements());
  copy(gpu, c.qkv, qkv);
  Tensor out = upload(out_of(c.shape, DType::bf16)), lse = upload(lse_of(c.shape, DType::fp32));
  attention_forward(gpu, c.shape, qkv, out, lse);
  EXPECT_LE(relative_error(download(out), c.expected_out), allowed_error(DType::bf16));
}

TEST_F(CudaAttention, RefusesHeadsThatAreTooWide) {
  const AttentionShape shape{1, 2, 1, 1, 257};
  Tensor out = upload(out_of(shape, DType::fp32)), lse = upload(lse_of(shape, DType::fp32));
  EXPECT_THROW(attention_forward(gpu, shape, upload(qkv_of(shape, DType::fp32)), out, lse), Error);
}

}  // namespace
}  // namespace trident::testing
