#include "kernels/activation.h"

#include "tests/kernels/cuda/gpu.h"

namespace trident::testing {
namespace {

using CudaActivation = GpuTest;

constexpr DType kFloats[] = {DType::fp64, DType::fp32, DType::bf16};
constexpr int64_t kShapes[][2] = {{1, 1}, {3, 7}, {5, 8}, {129, 24}, {70, 1001}, {33, 2048}, {0, 8}};

/// Uniform in [−range, range).
Tensor spread(Shape shape, DType dtype, uint32_t seed, double range) {
  Tensor tensor = random_tensor(shape, dtype, seed);
  for (int64_t i = 0; i < tensor.elements(); ++i) set(tensor, i, range * get(tensor, i));
  return tensor;
}

struct Results {
  Tensor y, dx, again;
};

using Forward = void (*)(const Stream&, const Tensor&, Tensor&);
using Backward = void (*)(const Stream&, const Tensor&, const Tensor&, Tensor&, Tensor&);

/// On the CPU in fp64.
Results expected_of(const Stream& cpu, Forward forward, Backward backward, const Tensor& x, const Tensor& dy) {
  const Tensor wide = in_fp64(x);
  Results results{poisoned(dy.shape(), DType::fp64), poisoned(x.shape(), DType::fp64), Tensor()};
  forward(cpu, wide, results.y);
  backward(cpu, in_fp64(dy), wide, results.dx, results.again);
  return results;
}

class BothActivations : public GpuTest {
 protected:
  /// All that is in the header: forward, backward, the recomputed y, dx in place of x, and the same bits each time.
  void check(Forward forward, Backward backward, const Tensor& x, const Tensor& dy) {
    const Results expected = expected_of(cpu, forward, backward, x, dy);
    const Tensor x_gpu = upload(x), dy_gpu = upload(dy);
    Tensor y = poisoned_on_gpu(dy.shape(), x.dtype()), again = poisoned_on_gpu(dy.shape(), x.dtype());
    Tensor dx = poisoned_on_gpu(x.shape(), x.dtype()), in_place = upload(x), none;
    forward(gpu, x_gpu, y);
    backward(gpu, dy_gpu, x_gpu, dx, again);
    backward(gpu, dy_gpu, in_place, in_place, none);
    EXPECT_LE(relative_error(download(y), expected.y), allowed_error(x.dtype()));
    EXPECT_LE(relative_error(download(dx), expected.dx), allowed_error(x.dtype()));
    EXPECT_TRUE(same_bits(download(again), download(y)));
    EXPECT_TRUE(same_bits(download(in_place), download(dx)));
  }
};

TEST_F(BothActivations, SwigluMatchesTheCpu) {
  for (const DType dtype : kFloats) {
    for (const auto [rows, columns] : kShapes) {
      SCOPED_TRACE(std::string(to_string(dtype)) + " " + std::to_string(rows) + " x " + std::to_string(columns));
      check(swiglu_forward, swiglu_backward, spread({rows, 2 * columns}, dtype, 1, 9.0),
            random_tensor({rows, columns}, dtype, 2));
    }
  }
}

TEST_F(BothActivations, GeluMatchesTheCpu) {
  for (const DType dtype : kFloats) {
    for (const auto [rows, columns] : kShapes) {
      SCOPED_TRACE(std::string(to_string(dtype)) + " " + std::to_string(rows) + " x " + std::to_string(columns));
      check(gelu_forward, gelu_backward, spread({rows, columns}, dtype, 1, 6.0),
            random_tensor({rows, columns}, dtype, 2));
    }
  }
}

// Tensors that start in the middle of 16 bytes, as views do.
TEST_F(CudaActivation, UnalignedMemoryHasTheSameBits) {
  for (const DType dtype : kFloats) {
    const int64_t rows = 9, columns = 16;
    const Tensor x = spread({rows, 2 * columns}, dtype, 1, 4.0), dy = random_tensor({rows, columns}, dtype, 2);
    const auto shifted = [&](const Tensor& tensor) {
      const Tensor larger = allocate_zeroed(gpu.device(), {tensor.elements() + 1}, dtype);
      Tensor view = larger.flat_view(1, tensor.shape());
      copy(gpu, tensor, view);
      gpu.synchronize();
      return view;
    };
    const Tensor x_gpu = upload(x), dy_gpu = upload(dy), x_shifted = shifted(x), dy_shifted = shifted(dy);
    Tensor dx = poisoned_on_gpu(x.shape(), dtype), y = poisoned_on_gpu(dy.shape(), dtype);
    Tensor dx_shifted = shifted(poisoned(x.shape(), dtype)), y_shifted = shifted(poisoned(dy.shape(), dtype));
    swiglu_backward(gpu, dy_gpu, x_gpu, dx, y);
    swiglu_backward(gpu, dy_shifted, x_shifted, dx_shifted, y_shifted);
    EXPECT_TRUE(same_bits(download(dx), download(dx_shifted)));
    EXPECT_TRUE(same_bits(download(y), download(y_shifted)));
    swiglu_forward(gpu, x_shifted, y_shifted);
    EXPECT_TRUE(same_bits(download(y), download(y_shifted)));
    gelu_backward(gpu, dy_gpu, dy_gpu, dx = poisoned_on_gpu(dy.shape(), dtype), y);
    gelu_backward(gpu, dy_shifted, dy_shifted, dx_shifted = shifted(poisoned(dy.shape(), dtype)), y_shifted);
    EXPECT_TRUE(same_bits(download(dx), download(dx_shifted)));
    EXPECT_TRUE(same_bits(download(y), download(y_shifted)));
  }
}

TEST_F(CudaActivation, LargeInputsSaturate) {
  constexpr double kLarge[] = {-1e30, -1e3, -90, -88, -87.5, 0.0, 87.5, 88, 90, 1e3, 1e30};
  for (const DType dtype : kFloats) {
    const auto n = static_cast<int64_t>(std::size(kLarge));
    Tensor x = filled({n, 1}, dtype, 0.0), gated = filled({n, 2}, dtype, 1.0);
    for (int64_t i = 0; i < n; ++i) {
      set(x, i, kLarge[i]);
      set(gated, 2 * i, kLarge[i]);
    }
    const Tensor ones = upload(filled({n, 1}, dtype, 1.0));
    Tensor y = poisoned_on_gpu({n, 1}, dtype), dx = poisoned_on_gpu({n, 1}, dtype);
    Tensor y_gated = poisoned_on_gpu({n, 1}, dtype), d_gated = poisoned_on_gpu({n, 2}, dtype);
    gelu_backward(gpu, ones, upload(x), dx, y);
    swiglu_backward(gpu, ones, upload(gated), d_gated, y_gated);
    const Tensor found[] = {download(y), download(dx), download(y_gated), download(d_gated)};
    for (int64_t i = 0; i < n; ++i) {
      const double value = get(x, i), expected = std::max(value, 0.0);
      const double slope = value > 0 ? 1.0 : value < 0 ? 0.0 : 0.5;
      EXPECT_NEAR(get(found[0], i), expected, 1e-30) << value;
      EXPECT_NEAR(get(found[1], i), slope, 1e-30) << value;
      EXPECT_NEAR(get(found[2], i), expected, 1e-30) << value;
      EXPECT_NEAR(get(found[3], 2 * i), slope, 1e-30) << value;
    }
  }
}

TEST_F(CudaActivation, NanStaysNan) {
  for (const DType dtype : kFloats) {
    const Tensor x = upload(poisoned({1, 2}, dtype)), dy = upload(filled({1, 2}, dtype, 1.0));
    Tensor y = upload(filled({1, 2}, dtype, 0.0)), dx = upload(filled({1, 2}, dtype, 0.0));
    gelu_backward(gpu, dy, x, dx, y);
    const Tensor y_found = download(y), dx_found = download(dx);
    EXPECT_TRUE(std::isnan(get(y_found, 1)) && std::isnan(get(dx_found, 1)));
  }
}

}  // namespace
}  // namespace trident::testing
