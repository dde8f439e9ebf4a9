#include <string>

#include "kernels/cuda/quantize.h"
#include "kernels/gemm_tuning.h"
#include "kernels/linear.h"
#include "tests/kernels/cuda/fp8_values.h"
#include "tests/kernels/cuda/linear_products.h"

namespace trident::testing {
namespace {

using cuda::Orientation;

using Outputs = LinearOutputs;
using Sizes = LinearSizes;

constexpr Sizes kSizes[] = {{16, 16, 16}, {128, 64, 192}, {48, 1024, 144}, {2048, 32, 80}, {256, 512, 1536}};

class CudaFp8 : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    try {
      require_fp8(gpu);
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
  }

  struct Found {
    std::vector<uint8_t> bytes;
    cuda::Fp8Scale scale{};
  };

  [[nodiscard]] Found quantized(const Tensor& x, Fp8Format format, Orientation orientation) const {
    // Bytes that no kernel writes: NaN in both formats.
    const Tensor bytes = upload(filled({x.elements() / 4}, DType::int32, -1));
    const Tensor scale = upload(filled({2}, DType::int32, -1));
    const Tensor on_gpu = upload(x);
    quantize(gpu, on_gpu, format, orientation, bytes.raw(), static_cast<cuda::Fp8Scale*>(scale.raw()));
    const Tensor bytes_here = download(bytes), scale_here = download(scale);
    Found found;
    found.bytes.resize(bytes_here.bytes());
    std::memcpy(found.bytes.data(), bytes_here.raw(), bytes_here.bytes());
    std::memcpy(&found.scale, scale_here.raw(), sizeof found.scale);
    return found;
  }

  void expect_as_on_host(const Tensor& x, Fp8Format format) const {
    const HostFp8 expected = quantized_on_host(x, format);
    const Found plain = quantized(x, format, Orientation::as_is);
    const Found transposed = quantized(x, format, Orientation::transposed);
    for (const Found* found : {&plain, &transposed}) {
      EXPECT_EQ(found->scale.largest, expected.largest);
      EXPECT_EQ(std::bit_cast<uint32_t>(found->scale.inverse), std::bit_cast<uint32_t>(expected.inverse));
    }
    EXPECT_EQ(plain.bytes, expected.bytes) << x.shape().to_string();
    std::vector<uint8_t> columns;
    for (int64_t column = 0; column < x.columns(); ++column)
      for (int64_t row = 0; row < x.rows(); ++row)
        columns.push_back(expected.bytes[static_cast<size_t>(row * x.columns() + column)]);
    EXPECT_EQ(transposed.bytes, columns) << x.shape().to_string();
  }
};

TEST_F(CudaFp8, QuantizesAndTransposesAsTheHostDoes) {
  for (const Fp8Format format : kFp8Formats) {
    for (const Shape& shape : {Shape{16, 16}, Shape{16, 80}, Shape{128, 64}, Shape{144, 48}, Shape{400, 272},
                               Shape{2048, 1040}, Shape{2, 64, 96}})
      expect_as_on_host(random_tensor(shape, DType::bf16, 1), format);
    expect_as_on_host(filled({32, 32}, DType::bf16, 0.0), format);
  }
}

/// All bf16 but those that are not finite, which a test of their own has, in sets that one scale suits.
TEST_F(CudaFp8, RoundsEveryBf16AsTheHostDoes) {
  for (const Fp8Format format : kFp8Formats) {
    for (int sign_and_top = 0; sign_and_top < 4; ++sign_and_top) {
      Tensor x = HeapAllocator().allocate({128, 128}, DType::bf16);
      for (int64_t i = 0; i < x.elements(); ++i) {
        const auto bits = static_cast<uint16_t>(sign_and_top << 14 | i);
        x.data<bfloat16>()[i] = std::bit_cast<bfloat16>((bits & 0x7f80) == 0x7f80 ? uint16_t{0} : bits);
      }
      expect_as_on_host(x, format);
    }
  }
}

TEST_F(CudaFp8, WhatIsNotFiniteIsTold) {
  for (const double bad : {std::nan(""), HUGE_VAL, -HUGE_VAL}) {
    Tensor x = random_tensor({64, 64}, DType::bf16, 1);
    set(x, 1234, bad);
    EXPECT_TRUE(std::isnan(quantized(x, Fp8Format::e4m3, Orientation::as_is).scale.inverse));
    EXPECT_TRUE(std::isnan(quantized(x, Fp8Format::e5m2, Orientation::transposed).scale.inverse));
  }
}

/// Gradients are small.
struct Inputs : LinearInputs {
  explicit Inputs(const Sizes& sizes) : LinearInputs(sizes, DType::bf16) {
    for (int64_t i = 0; i < dy.elements(); ++i) set(dy, i, 1e-6 * get(dy, i));
    for (int64_t i = 0; i < dw.elements(); ++i) set(dw, i, 1e-6 * get(dw, i));
  }
};

class CudaFp8Linear : public CudaFp8 {
 protected:
  [[nodiscard]] Outputs on_gpu(const Stream& stream, const Inputs& in) const {
    constexpr auto kFp8 = LinearPrecision::fp8;
    const Tensor x = upload(in.x), w = upload(in.w), dy = upload(in.dy);
    Outputs out{poisoned_on_gpu(in.dy.shape(), DType::bf16), poisoned_on_gpu(in.dy.shape(), DType::bf16),
                poisoned_on_gpu(in.x.shape(), DType::bf16), upload(in.dw), upload(in.dbias)};
    linear_forward(stream, x, w, {}, out.y, kFp8);
    linear_forward(stream, x, w, upload(in.bias), out.y_with_bias, kFp8);
    linear_backward_input(stream, dy, w, out.dx, kFp8);
    linear_backward_weight(stream, dy, x, out.dw, out.dbias, kFp8);
    for (Tensor* tensor : {&out.y, &out.y_with_bias, &out.dx, &out.dw, &out.dbias}) *tensor = to_host(stream, *tensor);
    return out;
  }
  [[nodiscard]] Outputs on_gpu(const Inputs& in) const { return on_gpu(gpu, in); }

  /// In fp64 by the CPU, from such operands.
  [[nodiscard]] Outputs expected(const Inputs& in, const Tensor& x, const Tensor& w, const Tensor& dy) const {
    Outputs out{poisoned(in.dy.shape(), DType::fp64), poisoned(in.dy.shape(), DType::fp64),
                poisoned(in.x.shape(), DType::fp64), in_fp64(in.dw), in_fp64(in.dbias)};
    linear_forward(cpu, x, w, {}, out.y);
    linear_forward(cpu, x, w, in_fp64(in.bias), out.y_with_bias);
    linear_backward_input(cpu, dy, w, out.dx);
    Tensor none;
    linear_backward_weight(cpu, dy, x, out.dw, none);
    Tensor unused = in_fp64(in.dw);
    linear_backward_weight(cpu, in_fp64(in.dy), in_fp64(in.x), unused, out.dbias);
    return out;
  }
  [[nodiscard]] Outputs of_rounded(const Inputs& in) const {
    return expected(in, dequantized(in.x, Fp8Format::e4m3), dequantized(in.w, Fp8Format::e4m3),
                    dequantized(in.dy, Fp8Format::e5m2));
  }
  [[nodiscard]] Outputs of_unrounded(const Inputs& in) const {
    return expected(in, in_fp64(in.x), in_fp64(in.w), in_fp64(in.dy));
  }
};

/// `activations`, `gradients`: relative errors that y, and dx and dw, may have. Column sums see no fp8.
void expect_near(const Outputs& found, const Outputs& expected, double activations, double gradients,
                 const std::string& what) {
  EXPECT_LT(relative_error(found.y, expected.y), activations) << what;
  EXPECT_LT(relative_error(found.y_with_bias, expected.y_with_bias), activations) << what;
  EXPECT_LT(relative_error(found.dx, expected.dx), gradients) << what;
  EXPECT_LT(relative_error(found.dw, expected.dw), gradients) << what;
  EXPECT_LT(relative_error(found.dbias, expected.dbias), allowed_error(DType::fp32)) << what;
}

// Operands are exact in fp64; results are rounded to bf16, and tensor cores add fp8 products with fewer bits than fp32
// has.
constexpr double kOfRounded = 4e-3;
// Relative errors of a rounding are at most 2^-4 (e4m3) and 2^-3 (e5m2), and less than half of it in the mean square;
// those of the two operands add as squares.
constexpr double kOfActivations = 0.06, kOfGradients = 0.1;

TEST_F(CudaFp8Linear, MultipliesTheRoundedOperands) {
  for (const Sizes& sizes : kSizes) {
    const Inputs in(sizes);
    const Outputs found = on_gpu(in);
    expect_near(found, of_rounded(in), kOfRounded, kOfRounded, sizes.name());
    expect_near(found, of_unrounded(in), kOfActivations, kOfGradients, sizes.name() + " beside bf16");
  }
}

TEST_F(CudaFp8Linear, RepeatsItsBits) {
  for (const Sizes& sizes : kSizes) {
    const Inputs in(sizes);
    expect_equal_bits(on_gpu(in), on_gpu(in), sizes.name());
  }
}

TEST_F(CudaFp8Linear, AValueThatIsNotFiniteSpreads) {
  for (const double bad : {std::nan(""), HUGE_VAL}) {
    Inputs in({32, 48, 64});
    set(in.x, 100, bad);
    const Outputs found = on_gpu(in);
    for (const double value : values(found.y)) EXPECT_TRUE(std::isnan(value));
    for (const double value : values(found.dw)) EXPECT_TRUE(std::isnan(value));
    for (const double value : values(found.dx)) EXPECT_TRUE(std::isfinite(value));
  }
}

TEST_F(CudaFp8Linear, ChoicesByTimingAreKeptAndGiveTheSameBits) {
  const Sizes sizes{512, 256, 384};
  const auto recorder = std::make_shared<GemmRecorder>(DeviceKind::cuda);
  const Stream dry = Stream::meta();
  dry.attach(recorder);
  HeapAllocator meta(Device::meta());
  const Tensor x = meta.allocate({sizes.rows, sizes.in}, DType::bf16),
               w = meta.allocate({sizes.out, sizes.in}, DType::bf16);
  const Tensor bias = meta.allocate({sizes.out}, DType::bf16);
  Tensor y = meta.allocate({sizes.rows, sizes.out}, DType::bf16),
         dx = meta.allocate({sizes.rows, sizes.in}, DType::bf16);
  Tensor dw = meta.allocate({sizes.out, sizes.in}, DType::fp32), none;
  linear_forward(dry, x, w, {}, y, LinearPrecision::fp8);
  linear_forward(dry, x, w, bias, y, LinearPrecision::fp8);
  linear_backward_input(dry, y, w, dx, LinearPrecision::fp8);
  linear_backward_weight(dry, y, x, dw, none, LinearPrecision::fp8);
  const GemmChoices choices = tune_gemms(gpu, recorder->products(), {});
  EXPECT_GE(choices.table().size(), 3u);  // all but the one with a bias, where no algorithm adds it
  for (const auto& [key, algorithm] : choices.table()) EXPECT_TRUE(key.fp8) << key.to_string();
  const Inputs in(sizes);
  follow_gemm_choices(gpu, choices);
  const Outputs first = on_gpu(in);
  expect_near(first, of_rounded(in), kOfRounded, kOfRounded, "chosen");
  const Stream resumed = Stream::cuda(0);
  follow_gemm_choices(resumed, GemmChoices::parse(choices.to_json()));
  expect_equal_bits(on_gpu(resumed, in), first, "chosen before");
}

}  // namespace
}  // namespace trident::testing
