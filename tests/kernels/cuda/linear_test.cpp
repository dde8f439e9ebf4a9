#include "kernels/linear.h"

#include <string>
#include <vector>

#include "kernels/cuda/algorithm_text.h"
#include "kernels/gemm_tuning.h"
#include "tests/kernels/cuda/linear_products.h"

namespace trident::testing {
namespace {

constexpr DType kDTypes[] = {DType::fp64, DType::fp32, DType::bf16};

using Inputs = LinearInputs;
using Sizes = LinearSizes;

constexpr Sizes kSizes[] = {{1, 1, 1},   {3, 5, 7},    {130, 257, 65}, {256, 64, 192},
                            {1, 96, 40}, {200, 1, 24}, {5, 16, 50257}, {1000, 24, 33}};

std::string name_of(const Sizes& sizes, DType dtype) { return sizes.name() + " " + std::string(to_string(dtype)); }

struct Outputs : LinearOutputs {
  Tensor dw_alone;
};

class CudaLinear : public GpuTest {
 protected:
  enum class Place { aligned, one_element_off };

  /// The tensor on the GPU. One element off its place, if so wished: as a view may lie.
  [[nodiscard]] Tensor place(const Tensor& host, Place where) const {
    if (where == Place::aligned) return upload(host);
    const Tensor memory = allocate_zeroed(gpu.device(), {host.elements() + 1}, host.dtype());
    Tensor view = memory.flat_view(1, host.shape());
    copy(gpu, host, view);
    gpu.synchronize();
    return view;
  }

  [[nodiscard]] Outputs on_gpu(const Inputs& in, Place where = Place::aligned) const { return on_gpu(gpu, in, where); }

  [[nodiscard]] Outputs on_gpu(const Stream& stream, const Inputs& in, Place where = Place::aligned) const {
    const Tensor x = place(in.x, where), w = place(in.w, where), bias = place(in.bias, where);
    const Tensor dy = place(in.dy, where);
    const Tensor nothing = poisoned({in.x.rows(), in.w.rows()}, in.x.dtype());
    Outputs out{{place(nothing, where), place(nothing, where), place(poisoned(in.x.shape(), in.x.dtype()), where),
                 place(in.dw, where), place(in.dbias, where)},
                place(in.dw, where)};
    linear_forward(stream, x, w, {}, out.y);
    linear_forward(stream, x, w, bias, out.y_with_bias);
    linear_backward_input(stream, dy, w, out.dx);
    linear_backward_weight(stream, dy, x, out.dw, out.dbias);
    Tensor none;
    linear_backward_weight(stream, dy, x, out.dw_alone, none);
    for (Tensor* tensor : {&out.y, &out.y_with_bias, &out.dx, &out.dw, &out.dbias, &out.dw_alone})
      *tensor = to_host(stream, *tensor);
    return out;
  }

  /// In fp64 by the CPU.
  [[nodiscard]] Outputs expected(const Inputs& in) const {
    const Tensor x = in_fp64(in.x), w = in_fp64(in.w), dy = in_fp64(in.dy);
    Outputs out{{poisoned(in.dy.shape(), DType::fp64), poisoned(in.dy.shape(), DType::fp64),
                 poisoned(in.x.shape(), DType::fp64), in_fp64(in.dw), in_fp64(in.dbias)},
                Tensor()};
    linear_forward(cpu, x, w, {}, out.y);
    linear_forward(cpu, x, w, in_fp64(in.bias), out.y_with_bias);
    linear_backward_input(cpu, dy, w, out.dx);
    linear_backward_weight(cpu, dy, x, out.dw, out.dbias);
    return out;
  }
};

void expect_near(const Outputs& found, const Outputs& expected, DType dtype, const std::string& what) {
  const double rounded = allowed_error(dtype), summed = allowed_error(accumulation_dtype(dtype));
  EXPECT_LT(relative_error(found.y, expected.y), rounded) << what;
  EXPECT_LT(relative_error(found.y_with_bias, expected.y_with_bias), rounded) << what;
  EXPECT_LT(relative_error(found.dx, expected.dx), rounded) << what;
  EXPECT_LT(relative_error(found.dw, expected.dw), summed) << what;
  EXPECT_LT(relative_error(found.dbias, expected.dbias), summed) << what;
  EXPECT_TRUE(same_bits(found.dw_alone, found.dw)) << what;
}

TEST_F(CudaLinear, MultipliesAsTheCpuDoesWhereverTensorsLie) {
  for (const DType dtype : kDTypes) {
    for (const Sizes& sizes : kSizes) {
      const Inputs in(sizes, dtype);
      const Outputs reference = expected(in);
      expect_near(on_gpu(in), reference, dtype, name_of(sizes, dtype));
      const Outputs moved = on_gpu(in, Place::one_element_off);
      expect_near(moved, reference, dtype, name_of(sizes, dtype) + " one element off");
    }
  }
}

TEST_F(CudaLinear, SumsColumnsInOneOrderWhereverTheyLie) {
  for (const DType dtype : kDTypes) {
    const Inputs in({3001, 8, 520}, dtype);
    EXPECT_TRUE(same_bits(on_gpu(in).dbias, on_gpu(in, Place::one_element_off).dbias)) << to_string(dtype);
  }
}

TEST_F(CudaLinear, RepeatsItsBits) {
  for (const DType dtype : kDTypes) {
    for (const Sizes& sizes : {Sizes{640, 384, 1152}, Sizes{2048, 64, 64}, Sizes{17, 3, 50257}}) {
      const Inputs in(sizes, dtype);
      expect_equal_bits(on_gpu(in), on_gpu(in), name_of(sizes, dtype));
    }
  }
}

TEST_F(CudaLinear, WithoutRowsNothingIsWritten) {
  for (const DType dtype : kDTypes) {
    const Inputs in({0, 16, 24}, dtype);
    const Outputs out = on_gpu(in);
    EXPECT_TRUE(same_bits(out.dw, in.dw));
    EXPECT_TRUE(same_bits(out.dbias, in.dbias));
    EXPECT_EQ(out.y.elements(), 0);
  }
}

/// What a dry run of on_gpu() records.
GemmProducts recorded(const Sizes& sizes, DType dtype) {
  const auto recorder = std::make_shared<GemmRecorder>(DeviceKind::cuda);
  const Stream dry = Stream::meta();
  dry.attach(recorder);
  HeapAllocator meta(Device::meta());
  const Tensor x = meta.allocate({sizes.rows, sizes.in}, dtype), w = meta.allocate({sizes.out, sizes.in}, dtype);
  const Tensor bias = meta.allocate({sizes.out}, dtype);
  Tensor y = meta.allocate({sizes.rows, sizes.out}, dtype), dx = meta.allocate({sizes.rows, sizes.in}, dtype);
  Tensor dw = meta.allocate({sizes.out, sizes.in}, accumulation_dtype(dtype)), none;
  linear_forward(dry, x, w, {}, y);
  linear_forward(dry, x, w, bias, y);
  linear_backward_input(dry, y, w, dx);
  linear_backward_weight(dry, y, x, dw, none);
  return recorder->products();
}

TEST_F(CudaLinear, ChoicesByTimingAreKeptAndGiveTheSameBits) {
  for (const DType dtype : kDTypes) {
    for (const Sizes& sizes : {Sizes{512, 256, 384}, Sizes{96, 33, 257}}) {
      const GemmProducts products = recorded(sizes, dtype);
      ASSERT_EQ(products.size(), 4u);
      const GemmChoices choices = tune_gemms(gpu, products, {});
      EXPECT_GE(choices.table().size(), 3u);  // all but the one with a bias, where no algorithm adds it
      for (const auto& [key, algorithm] : choices.table()) {
        EXPECT_TRUE(products.contains(key)) << key.to_string();
        EXPECT_TRUE(algorithm.starts_with("cublaslt:")) << algorithm;
      }
      const GemmChoices kept = GemmChoices::parse(choices.to_json());
      EXPECT_EQ(kept, choices);
      EXPECT_EQ(tune_gemms(gpu, products, kept, std::chrono::milliseconds(0)), choices);

      const Inputs in(sizes, dtype);
      follow_gemm_choices(gpu, choices);
      const Outputs first = on_gpu(in);
      expect_near(first, expected(in), dtype, name_of(sizes, dtype));
      const Stream resumed = Stream::cuda(0);
      follow_gemm_choices(resumed, kept);
      expect_equal_bits(on_gpu(resumed, in), first, name_of(sizes, dtype));
      expect_near(on_gpu(in, Place::one_element_off), expected(in), dtype, name_of(sizes, dtype) + " one element off");
    }
  }
}

TEST_F(CudaLinear, WithoutTimeTheFirstProposalIsKept) {
  const Sizes sizes{256, 128, 512};
  const GemmProducts products = recorded(sizes, DType::bf16);
  const GemmChoices choices = tune_gemms(gpu, products, {}, std::chrono::milliseconds(0));
  EXPECT_GE(choices.table().size(), 3u);
  const Inputs in(sizes, DType::bf16);
  const Outputs unchosen = on_gpu(in);
  follow_gemm_choices(gpu, choices);
  expect_equal_bits(on_gpu(in), unchosen, "first proposals");
}

TEST_F(CudaLinear, ChoicesThatCannotRunAreReplaced) {
  const Sizes sizes{64, 32, 48};
  const Inputs in(sizes, DType::fp32);
  const Outputs usual = on_gpu(in);
  GemmChoices choices;
  for (const auto& [key, strides] : recorded(sizes, DType::fp32)) choices.set(key, "openblas");
  follow_gemm_choices(gpu, choices);
  expect_equal_bits(on_gpu(in), usual, "another library");
  // Words that are no algorithm, but of this version.
  const GemmChoices real = tune_gemms(gpu, recorded(sizes, DType::fp32), {}, std::chrono::milliseconds(0));
  for (const auto& [key, text] : real.table()) {
    const size_t digits = text.rfind(':') + 1;
    choices.set(key, text.substr(0, digits) + std::string(text.size() - digits, 'f'));
  }
  follow_gemm_choices(gpu, choices);
  expect_equal_bits(on_gpu(in), usual, "no algorithm");
}

TEST(CudaAlgorithmText, SurvivesAndIsReadByItsOwnVersionOnly) {
  const cuda::AlgorithmWords words{0, 1, 0xffffffffffffffffu, 0x123456789abcdef0u, 5, 6, 7, 0x8000000000000000u};
  const std::string text = cuda::algorithm_text(130100, words);
  EXPECT_EQ(cuda::parse_algorithm(130100, text), words);
  EXPECT_EQ(cuda::parse_algorithm(130101, text), std::nullopt);
  EXPECT_EQ(cuda::parse_algorithm(130100, text.substr(0, text.size() - 1)), std::nullopt);
  EXPECT_EQ(cuda::parse_algorithm(130100, text + "0"), std::nullopt);
  EXPECT_EQ(cuda::parse_algorithm(130100, "openblas"), std::nullopt);
  std::string damaged = text;
  damaged.back() = 'g';
  EXPECT_EQ(cuda::parse_algorithm(130100, damaged), std::nullopt);
}

}  // namespace
}  // namespace trident::testing
