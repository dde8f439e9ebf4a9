#include "kernels/linear.h"

#include <fmt/format.h>

#include "bench/gpu/families.h"
#include "kernels/cuda/quantize.h"
#include "kernels/gemm_tuning.h"

namespace trident::bench {
namespace {

/// As a training does at its start; without its cache, so that every run times anew.
void choose_algorithm(const Stream& stream, int64_t rows, int64_t in, int64_t out, bool biased,
                      LinearPrecision precision) {
  const auto recorder = std::make_shared<GemmRecorder>(DeviceKind::cuda);
  const Stream dry = Stream::meta();
  dry.attach(recorder);
  HeapAllocator meta(Device::meta());
  const Tensor w = meta.allocate({out, in}, DType::bf16), bias = meta.allocate({out}, DType::bf16);
  Tensor x = meta.allocate({rows, in}, DType::bf16), y = meta.allocate({rows, out}, DType::bf16);
  Tensor dw = meta.allocate({out, in}, DType::fp32), none;
  linear_forward(dry, x, w, biased ? bias : none, y, precision);
  linear_backward_input(dry, y, w, x, precision);
  linear_backward_weight(dry, y, x, dw, none, precision);
  follow_gemm_choices(stream, tune_gemms(stream, recorder->products(), {}));
}

void bench_linear(Bench& bench, const Model& model, const char* part, int64_t in, int64_t out,
                  LinearPrecision precision = LinearPrecision::compute) {
  const Stream& stream = bench.stream;
  const int64_t rows = model.rows();
  const double flops = 2 * product(rows, in, out);
  const bool fp8 = precision == LinearPrecision::fp8;
  const std::string family = (fp8 ? "linear fp8 " : "linear ") + std::string(part),
                    shape = fmt::format("{}x{}x{}", rows, out, in);
  const bool biased = !model.llama && std::string(part) != "head";
  const auto weight = [&] { return bench.memory.random({out, in}, DType::bf16, 0.02); };
  bool wanted = false;
  for (const char* name : {"forward", "backward input", "backward weight"})
    wanted = wanted || bench.wants(fmt::format("{} {} {}", family, name, shape));
  if (wanted) choose_algorithm(stream, rows, in, out, biased, precision);
  bench.line({family, "forward", shape, Unit::flops, flops}, [&]() -> Call {
    const Tensor bias = biased ? bench.memory.random({out}) : Tensor();
    return [=, w = weight(), sets = rotate(bench, {{rows, in}, {rows, out}})](int64_t i) {
      linear_forward(stream, sets->at(i, 0), w, bias, sets->at(i, 1), precision);
    };
  });
  bench.line({family, "backward input", shape, Unit::flops, flops}, [&]() -> Call {
    return [=, w = weight(), sets = rotate(bench, {{rows, out}, {rows, in}})](int64_t i) {
      linear_backward_input(stream, sets->at(i, 0), w, sets->at(i, 1), precision);
    };
  });
  bench.line({family, "backward weight", shape, Unit::flops, flops}, [&]() -> Call {
    Tensor dw = bench.memory.random({out, in}, DType::fp32);
    Tensor dbias = biased ? bench.memory.random({out}, DType::fp32) : Tensor();
    return [=, sets = rotate(bench, {{rows, out}, {rows, in}})](int64_t i) mutable {
      linear_backward_weight(stream, sets->at(i, 0), sets->at(i, 1), dw, dbias, precision);
    };
  });
}

}  // namespace

void bench_linears(Bench& bench, const Model& model) {
  bench_linear(bench, model, "qkv", model.hidden, model.attention().qkv_columns());
  bench_linear(bench, model, "out", model.heads * model.head_dim, model.hidden);
  bench_linear(bench, model, "up", model.hidden, (model.llama ? 2 : 1) * model.inner);
  bench_linear(bench, model, "down", model.inner, model.hidden);
  bench_linear(bench, model, "head", model.hidden, model.vocabulary);
}

void bench_fp8_linears(Bench& bench, const Model& model) {
  constexpr auto kFp8 = LinearPrecision::fp8;
  bench_linear(bench, model, "qkv", model.hidden, model.attention().qkv_columns(), kFp8);
  bench_linear(bench, model, "out", model.heads * model.head_dim, model.hidden, kFp8);
  bench_linear(bench, model, "up", model.hidden, (model.llama ? 2 : 1) * model.inner, kFp8);
  bench_linear(bench, model, "down", model.inner, model.hidden, kFp8);
}

void bench_quantize(Bench& bench, const Model& model) {
  const int64_t rows = model.rows(), columns = model.inner;
  for (const auto& [orientation, name] :
       {std::pair{cuda::Orientation::as_is, "as it is"}, std::pair{cuda::Orientation::transposed, "transposed"}}) {
    // Read twice, written once.
    bench.line({"quantize e4m3", name, fmt::format("{}x{}", rows, columns), Unit::bytes, 5 * product(rows, columns)},
               [&, orientation = orientation]() -> Call {
                 const Tensor to = bench.memory.random({rows, columns / 2}), scale = bench.memory.random({4});
                 return [=, stream = bench.stream, sets = rotate(bench, {{rows, columns}})](int64_t i) {
                   cuda::quantize(stream, sets->at(i, 0), cuda::Fp8Format::e4m3, orientation, to.raw(),
                                  static_cast<cuda::Fp8Scale*>(scale.raw()));
                 };
               });
  }
}

}  // namespace trident::bench
