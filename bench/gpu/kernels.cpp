// Times every kernel family on a GPU at the shapes of three models, beside a copy and a matrix product of the same run.
//
//   bench_gpu_kernels [--only TEXT] [--samples N] [--json FILE]
//
// GB/s counts the bytes that the algorithm must read and write once, TFLOP/s two operations a multiply-add; causal
// attention counts the half of the scores that is not masked. "of ceiling" compares GB/s with copy() from and to the
// GPU's memory, and TFLOP/s with an 8192³ bf16 product by linear_forward. Data is random, inputs rotate so that no call
// finds its own in the L2 cache, and the host's clock runs around many calls and one synchronize(). Median of
// --samples.
// --only keeps lines whose "family name shape" contains TEXT. --json: an object a line. Exit code 77 without a GPU.
#include <fmt/format.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "bench/gpu/families.h"
#include "core/cuda_devices.h"
#include "core/error.h"
#include "kernels/linear.h"

namespace trident::bench {
namespace {

constexpr int kSkipped = 77;

constexpr Model kModels[] = {
    {"gpt2-124m", 64, 1024, 768, 3072, 12, 12, 64, 50304, false},
    {"gpt2-1558m", 16, 1024, 1600, 6400, 25, 25, 64, 50304, false},
    {"llama-8b", 2, 8192, 4096, 14336, 32, 8, 128, 128256, true},
};

bool has_fp8(const Stream& stream) {
  try {
    require_fp8(stream);
    return true;
  } catch (const Error&) {
    return false;
  }
}

int run(const Options& options) {
  const std::vector<std::string> devices = cuda_device_names();
  if (devices.empty()) {
    fmt::print(stderr, "bench_gpu_kernels: no GPU, or a build without CUDA: nothing to time\n");
    return kSkipped;
  }
  fmt::print("{}\n", devices.front());
  Bench bench(Stream::cuda(0, 2), options);
  bench.measure_ceilings("at the start");
  bench_elementwise(bench);
  for (const Model& model : kModels) {
    bench_norms(bench, model);
    bench_activation(bench, model);
    if (model.llama) bench_rope(bench, model);
    bench_embedding(bench, model);
    bench_cross_entropy(bench, model.rows(), model.vocabulary);
    bench_attention(bench, model, cuda::AttentionKernel::cudnn, "cudnn");
    bench_attention(bench, model, cuda::AttentionKernel::flash, "mma");
    bench_attention(bench, model, cuda::AttentionKernel::wgmma, "wgmma");
    bench_linears(bench, model);
    if (!has_fp8(bench.stream)) continue;
    bench_quantize(bench, model);
    bench_fp8_linears(bench, model);
  }
  bench_cross_entropy(bench, kModels[1].rows(), 50257);  // rows that no 16-byte access may begin at
  bench_optimizer(bench);
  allow_unrepeatable_attention(bench.stream);
  for (const Model& model : kModels) bench_attention(bench, model, cuda::AttentionKernel::cudnn, "cudnn, any order");
  bench.measure_ceilings("at the end");
  if (bench.lines() == 0) fmt::print(stderr, "bench_gpu_kernels: no line contains '{}'\n", options.only);
  return bench.lines() == 0 || bench.failures() > 0 ? 1 : 0;
}

int usage() {
  fmt::print(stderr, "usage: bench_gpu_kernels [--only TEXT] [--samples N] [--json FILE]\n");
  return 64;
}

}  // namespace
}  // namespace trident::bench

int main(int argc, char** argv) {
  trident::bench::Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (value.empty()) return trident::bench::usage();
    if (name == "--only") {
      options.only = value;
    } else if (name == "--json") {
      options.json = value;
    } else if (name == "--samples") {
      options.samples = std::atoi(value.c_str());
    } else {
      return trident::bench::usage();
    }
  }
  if (options.samples < 1) return trident::bench::usage();
  try {
    return trident::bench::run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_gpu_kernels: {}\n", error.what());
    return 1;
  }
}
