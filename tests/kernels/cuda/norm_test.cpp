#include "kernels/norm.h"

#include "kernels/elementwise.h"
#include "tests/kernels/cuda/gpu.h"

namespace trident::testing {
namespace {

constexpr NormKind kKinds[] = {NormKind::rms, NormKind::layer};
constexpr DType kFloats[] = {DType::fp64, DType::fp32, DType::bf16};

// Odd columns; rows of a warp and of a block; more rows than blocks; rows too long for registers.
struct Size {
  int64_t rows, columns;
};
constexpr Size kSizes[] = {{1, 1},    {7, 3},    {5, 17},   {900, 33}, {2200, 64}, {3, 512},
                           {3, 1000}, {5, 1600}, {3, 4096}, {2, 8192}, {2, 40000}};

NormWeights random_weights(NormKind kind, int64_t columns, DType dtype) {
  NormWeights weights{kind, 1e-5, random_tensor({columns}, dtype, 11), {}};
  if (kind == NormKind::layer) weights.bias = random_tensor({columns}, dtype, 12);
  return weights;
}

NormWeights in_fp64(const NormWeights& weights) {
  return {weights.kind, weights.eps, testing::in_fp64(weights.gain),
          weights.bias.defined() ? testing::in_fp64(weights.bias) : Tensor()};
}

Shape partials_shape(NormKind kind, int64_t columns) { return {kind == NormKind::layer ? 2 : 1, columns}; }

class CudaNorm : public GpuTest {
 protected:
  [[nodiscard]] NormWeights on_gpu(const NormWeights& weights) const {
    return {weights.kind, weights.eps, upload(weights.gain), weights.bias.defined() ? upload(weights.bias) : Tensor()};
  }
  [[nodiscard]] Tensor stats_of(const NormWeights& weights, const Tensor& x) const {
    Tensor y = poisoned(x.shape(), DType::fp64), stats = poisoned({x.rows(), 2}, DType::fp64);
    norm_forward(cpu, in_fp64(weights), testing::in_fp64(x), y, stats);
    Tensor rounded = poisoned(stats.shape(), accumulation_dtype(x.dtype()));
    cast(cpu, stats, rounded);
    return rounded;
  }
  template <class F>
  void for_all(const F& f) const {
    for (const NormKind kind : kKinds) {
      for (const DType dtype : kFloats) {
        for (const Size size : kSizes) {
          SCOPED_TRACE((kind == NormKind::layer ? "layer " : "rms ") + std::string(to_string(dtype)) + " " +
                       std::to_string(size.rows) + " x " + std::to_string(size.columns));
          f(random_weights(kind, size.columns, dtype), random_tensor({size.rows, size.columns}, dtype, 1));
        }
      }
    }
  }
};

TEST_F(CudaNorm, ForwardIsNearTheCpusAndRecomputeGivesItsBits) {
  for_all([&](const NormWeights& weights, const Tensor& x) {
    const DType wide = accumulation_dtype(x.dtype());
    Tensor y = poisoned(x.shape(), DType::fp64), stats = poisoned({x.rows(), 2}, DType::fp64);
    norm_forward(cpu, in_fp64(weights), testing::in_fp64(x), y, stats);

    const NormWeights gpu_weights = on_gpu(weights);
    const Tensor gpu_x = upload(x);
    Tensor gpu_y = poisoned_on_gpu(x.shape(), x.dtype()), again = poisoned_on_gpu(x.shape(), x.dtype());
    Tensor gpu_stats = poisoned_on_gpu(stats.shape(), wide);
    norm_forward(gpu, gpu_weights, gpu_x, gpu_y, gpu_stats);
    norm_recompute(gpu, gpu_weights, gpu_x, gpu_stats, again);
    EXPECT_LE(relative_error(download(gpu_y), y), allowed_error(x.dtype()));
    EXPECT_LE(relative_error(download(gpu_stats), stats), allowed_error(wide));
    EXPECT_TRUE(same_bits(download(gpu_y), download(again)));
  });
}

TEST_F(CudaNorm, AddNormIsAddThenNorm) {
  for_all([&](const NormWeights& weights, const Tensor& x) {
    const Tensor delta = random_tensor(x.shape(), x.dtype(), 2);
    const NormWeights gpu_weights = on_gpu(weights);
    Tensor sum = poisoned(x.shape(), x.dtype());
    add(cpu, x, delta, sum);
    Tensor y = poisoned_on_gpu(x.shape(), x.dtype());
    Tensor stats = poisoned_on_gpu({x.rows(), 2}, accumulation_dtype(x.dtype()));
    norm_forward(gpu, gpu_weights, upload(sum), y, stats);
    for (const int alias : {0, 1, 2}) {
      const Tensor left = upload(x), right = upload(delta);
      Tensor sum_found = alias == 0 ? poisoned_on_gpu(x.shape(), x.dtype()) : alias == 1 ? left : right;
      Tensor y_found = poisoned_on_gpu(y.shape(), y.dtype()),
             stats_found = poisoned_on_gpu(stats.shape(), stats.dtype());
      add_norm_forward(gpu, gpu_weights, left, right, sum_found, y_found, stats_found);
      EXPECT_TRUE(same_bits(download(sum_found), sum)) << alias;
      EXPECT_TRUE(same_bits(download(y_found), download(y))) << alias;
      EXPECT_TRUE(same_bits(download(stats_found), download(stats))) << alias;
    }
  });
}

TEST_F(CudaNorm, BackwardIsNearTheCpusWhateverItOverwrites) {
  for_all([&](const NormWeights& weights, const Tensor& x) {
    const DType wide = accumulation_dtype(x.dtype());
    const Tensor dy = random_tensor(x.shape(), x.dtype(), 2), dresidual = random_tensor(x.shape(), x.dtype(), 3);
    const Tensor stats = stats_of(weights, x);
    Tensor dx = poisoned(x.shape(), DType::fp64);
    Tensor partials = poisoned(partials_shape(weights.kind, x.columns()), DType::fp64);
    norm_backward(cpu, in_fp64(weights), testing::in_fp64(dy), testing::in_fp64(x), testing::in_fp64(stats),
                  testing::in_fp64(dresidual), dx, partials);

    const NormWeights gpu_weights = on_gpu(weights);
    const Tensor gpu_x = upload(x), gpu_stats = upload(stats);
    Tensor first_dx, first_partials;
    for (const int alias : {0, 0, 1, 2}) {  // twice without: the same bits each time
      const Tensor left = upload(dy), right = upload(dresidual);
      Tensor dx_found = alias == 0 ? poisoned_on_gpu(x.shape(), x.dtype()) : alias == 1 ? left : right;
      Tensor partials_found = poisoned_on_gpu(partials.shape(), wide);
      norm_backward(gpu, gpu_weights, left, gpu_x, gpu_stats, right, dx_found, partials_found);
      if (!first_dx.defined()) {
        first_dx = download(dx_found);
        first_partials = download(partials_found);
        // Of few columns, the inverse deviation makes rounding large.
        EXPECT_LE(relative_error(first_dx, dx), (x.columns() > 3 ? 1 : 20) * allowed_error(x.dtype()));
        EXPECT_LE(relative_error(first_partials, partials), (x.columns() > 3 ? 1 : 20) * allowed_error(wide));
      }
      EXPECT_TRUE(same_bits(download(dx_found), first_dx)) << alias;
      EXPECT_TRUE(same_bits(download(partials_found), first_partials)) << alias;
    }
  });
}

TEST_F(CudaNorm, BackwardOfManyRowsWithoutAResidual) {
  for (const NormKind kind : kKinds) {
    const Tensor x = random_tensor({1500, 768}, DType::bf16, 1), dy = random_tensor(x.shape(), DType::bf16, 2);
    const NormWeights weights = random_weights(kind, 768, DType::bf16);
    const Tensor stats = stats_of(weights, x);
    Tensor dx = poisoned(x.shape(), DType::fp64), partials = poisoned(partials_shape(kind, 768), DType::fp64);
    norm_backward(cpu, in_fp64(weights), testing::in_fp64(dy), testing::in_fp64(x), testing::in_fp64(stats), {}, dx,
                  partials);
    Tensor dx_found = poisoned_on_gpu(x.shape(), DType::bf16);
    Tensor partials_found = poisoned_on_gpu(partials.shape(), DType::fp32);
    norm_backward(gpu, on_gpu(weights), upload(dy), upload(x), upload(stats), {}, dx_found, partials_found);
    EXPECT_LE(relative_error(download(dx_found), dx), allowed_error(DType::bf16));
    EXPECT_LE(relative_error(download(partials_found), partials), allowed_error(DType::fp32));
  }
}

// Views may start at any element.
TEST_F(CudaNorm, RowsThatAreNotAligned) {
  for (const NormKind kind : kKinds) {
    const Tensor storage = random_tensor({1 + 4 * 512}, DType::bf16, 1);
    const Tensor x = storage.flat_view(1, {4, 512}), gpu_x = upload(storage).flat_view(1, {4, 512});
    const NormWeights weights = random_weights(kind, 512, DType::bf16), gpu_weights = on_gpu(weights);
    Tensor y = poisoned(x.shape(), DType::fp64), stats = poisoned({4, 2}, DType::fp64);
    Tensor y_found = poisoned_on_gpu(x.shape(), DType::bf16), stats_found = poisoned_on_gpu({4, 2}, DType::fp32);
    norm_forward(cpu, in_fp64(weights), testing::in_fp64(x), y, stats);
    norm_forward(gpu, gpu_weights, gpu_x, y_found, stats_found);
    EXPECT_LE(relative_error(download(y_found), y), allowed_error(DType::bf16));

    Tensor dx = poisoned(x.shape(), DType::fp64), partials = poisoned(partials_shape(kind, 512), DType::fp64);
    Tensor dx_found = poisoned_on_gpu(x.shape(), DType::bf16);
    Tensor partials_found = poisoned_on_gpu(partials.shape(), DType::fp32);
    const Tensor wide = testing::in_fp64(x);
    norm_backward(cpu, in_fp64(weights), wide, wide, stats, wide, dx, partials);
    norm_backward(gpu, gpu_weights, gpu_x, gpu_x, stats_found, gpu_x, dx_found, partials_found);
    EXPECT_LE(relative_error(download(dx_found), dx), allowed_error(DType::bf16));
    EXPECT_LE(relative_error(download(partials_found), partials), allowed_error(DType::fp32));
  }
}

// E[x²] − mean² would leave no digit of the variance.
TEST_F(CudaNorm, RowsFarFromZero) {
  Tensor x = random_tensor({3, 768}, DType::fp32, 1);
  for (int64_t i = 0; i < x.elements(); ++i) set(x, i, 4096 + std::round(64 * get(x, i)) / 64);
  const NormWeights weights = random_weights(NormKind::layer, 768, DType::fp32);
  Tensor y = poisoned(x.shape(), DType::fp64), stats = poisoned({3, 2}, DType::fp64);
  Tensor y_found = poisoned_on_gpu(x.shape(), DType::fp32), stats_found = poisoned_on_gpu({3, 2}, DType::fp32);
  norm_forward(cpu, in_fp64(weights), testing::in_fp64(x), y, stats);
  norm_forward(gpu, on_gpu(weights), upload(x), y_found, stats_found);
  EXPECT_LE(relative_error(download(y_found), y), 2e-3);
}

TEST_F(CudaNorm, NoRowsGiveZeroGradients) {
  const Tensor some = upload(random_tensor({1, 5}, DType::fp32, 1));
  Tensor none = some.slice(0, 0);
  const Tensor stats = upload(random_tensor({1, 2}, DType::fp32, 1)).slice(0, 0);
  for (const NormKind kind : kKinds) {
    Tensor partials = poisoned_on_gpu(partials_shape(kind, 5), DType::fp32);
    norm_backward(gpu, on_gpu(random_weights(kind, 5, DType::fp32)), none, none, stats, {}, none, partials);
    EXPECT_TRUE(same_bits(download(partials), filled(partials.shape(), DType::fp32, 0.0)));
  }
}

}  // namespace
}  // namespace trident::testing
