// Matrix products and attention of whole GPT-2 models as fractions of the processor's peak, which is measured in the
// same run and in turns with them. Each product counts with its fastest call.
//   bench_gemm [MODEL…] [--threads N] [--dtype fp32|bf16] [--seconds S]      models: S M L
#include <fmt/format.h>
#include <time.h>  // NOLINT(modernize-deprecated-headers): clock_gettime is POSIX

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "bench/fma_loop.h"
#include "core/allocator.h"
#include "kernels/attention.h"
#include "kernels/cpu/blas.h"
#include "kernels/gemm_tuning.h"
#include "kernels/linear.h"

namespace trident {
namespace {

struct Model {
  const char* name;
  int64_t layers, hidden, heads, vocabulary, sequence, batch;
};
constexpr Model kModels[] = {
    {"S", 4, 256, 4, 1024, 128, 16}, {"M", 6, 512, 8, 8192, 256, 8}, {"L", 12, 768, 12, 50304, 256, 4}};

/// Wall time, or on one thread its processor time, which other programs do not disturb.
double seconds(int threads) {
  timespec now{};
  clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// Something to time: how often a training step does it and the operations of one go.
struct Work {
  double times = 1;
  double flops = 0;
  std::function<void()> run;
  double best = 1e30;
};

void time_once(Work& work, int threads) {
  const double start = seconds(threads);
  work.run();
  work.best = std::min(work.best, seconds(threads) - start);
}

struct Bench {
  Stream stream;
  int threads = 1;
  DType dtype = DType::fp32;
  double budget = 2.0;  ///< seconds for each list of works

  [[nodiscard]] Work peak() const {
    return {1, bench::fma_flops() * threads,
            [this] { stream.pool().parallel_for(threads, [](int64_t) { bench::fma_flops(); }); }};
  }
};

Tensor values(Allocator& allocator, Shape shape, DType dtype) {
  Tensor tensor = allocator.allocate(shape, dtype);
  for (int64_t i = 0; tensor.raw() != nullptr && i < tensor.elements(); ++i) {
    const auto value = static_cast<float>((i * 37 % 101) - 50) * 0.01f;
    if (dtype == DType::bf16) tensor.data<bfloat16>()[i] = bfloat16(value);
    if (dtype == DType::fp32) tensor.data<float>()[i] = value;
  }
  return tensor;
}

/// The three products of a layer with weight [out, in].
void add_linear(std::vector<Work>& work, const Stream& stream, Allocator& memory, DType dtype, int64_t rows, int64_t in,
                int64_t out, int64_t times) {
  const Tensor x = values(memory, {rows, in}, dtype);
  const Tensor w = values(memory, {out, in}, dtype);
  const Tensor y = values(memory, {rows, out}, dtype);
  const Tensor dw = values(memory, {out, in}, DType::fp32);
  const double flops = 2.0 * static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out);
  const auto count = static_cast<double>(times);
  work.push_back({count, flops, [=] {
                    Tensor target = y;
                    linear_forward(stream, x, w, {}, target);
                  }});
  work.push_back({count, flops, [=] {
                    Tensor target = x;
                    linear_backward_input(stream, y, w, target);
                  }});
  work.push_back({count, flops, [=] {
                    Tensor target = dw;
                    Tensor none;
                    linear_backward_weight(stream, y, x, target, none);
                  }});
}

std::vector<Work> linears(const Model& m, const Stream& stream, Allocator& memory, DType dtype) {
  std::vector<Work> work;
  const int64_t rows = m.sequence * m.batch;
  add_linear(work, stream, memory, dtype, rows, m.hidden, 3 * m.hidden, m.layers);
  add_linear(work, stream, memory, dtype, rows, m.hidden, m.hidden, m.layers);
  add_linear(work, stream, memory, dtype, rows, m.hidden, 4 * m.hidden, m.layers);
  add_linear(work, stream, memory, dtype, rows, 4 * m.hidden, m.hidden, m.layers);
  add_linear(work, stream, memory, dtype, rows, m.hidden, m.vocabulary, 1);
  return work;
}

/// Forward and backward; operations are counted in full, as if no score were masked and none computed again.
std::vector<Work> attention(const Model& m, const Stream& stream, Allocator& memory, DType dtype) {
  const AttentionShape shape{m.batch, m.sequence, m.heads, m.heads, m.hidden / m.heads};
  const Tensor qkv = values(memory, {m.batch, m.sequence, shape.qkv_columns()}, dtype);
  const Tensor dqkv = values(memory, {m.batch, m.sequence, shape.qkv_columns()}, dtype);
  const Tensor out = values(memory, {m.batch, m.sequence, m.hidden}, dtype);
  const Tensor dout = values(memory, {m.batch, m.sequence, m.hidden}, dtype);
  const Tensor lse = values(memory, {m.batch, m.heads, m.sequence}, DType::fp32);
  const double flops = 4.0 * static_cast<double>(m.batch * m.sequence * m.sequence * m.hidden);
  const auto forward = [=] {
    Tensor o = out;
    Tensor l = lse;
    attention_forward(stream, shape, qkv, o, l);
  };
  const auto backward = [=] {
    Tensor d = dqkv;
    attention_backward(stream, shape, qkv, out, lse, dout, d);
  };
  return {{static_cast<double>(m.layers), flops, forward}, {static_cast<double>(m.layers), 2 * flops, backward}};
}

double gflops(const std::vector<Work>& work) {
  double flops = 0;
  double time = 0;
  for (const auto& item : work) {
    flops += item.times * item.flops;
    time += item.times * item.best;
  }
  return 1e-9 * flops / time;
}

/// Runs everything in turns until the time is spent, and at least three times.
void time_all(const Bench& bench, std::vector<Work>& work, Work& peak) {
  const auto start = std::chrono::steady_clock::now();
  for (int round = 0;; ++round) {
    const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
    if (round >= 3 && spent.count() > bench.budget) return;
    for (auto& item : work) time_once(item, bench.threads);
    time_once(peak, bench.threads);
  }
}

GemmChoices choose(const Model& model, DType dtype, double& tuning_seconds) {
  const auto recorder = std::make_shared<GemmRecorder>();
  const Stream dry = Stream::meta();
  dry.attach(recorder);
  HeapAllocator nothing(Device::meta());
  for (const auto& item : linears(model, dry, nothing, dtype)) item.run();
  for (const auto& item : attention(model, dry, nothing, dtype)) item.run();
  const auto start = std::chrono::steady_clock::now();
  GemmChoices choices = tune_gemms(recorder->products(), {});
  tuning_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return choices;
}

/// Every product of `choices` by one library.
GemmChoices all_by(const std::string& library, const GemmChoices& choices) {
  GemmChoices same;
  for (const auto& [key, unused] : choices.table()) same.set(key, library);
  return same;
}

void measure(const Bench& bench, const Model& model) {
  double tuning = 0;
  const GemmChoices chosen = choose(model, bench.dtype, tuning);
  fmt::print("{} {} threads {}: {} products tuned in {:.2f} s\n", model.name, to_string(bench.dtype), bench.threads,
             chosen.table().size(), tuning);
  HeapAllocator heap;
  std::vector<std::pair<std::string, GemmChoices>> rivals{{"chosen", chosen}};
  for (const auto& library : cpu::blas_libraries()) rivals.emplace_back(library.name, all_by(library.name, chosen));
  auto products = linears(model, bench.stream, heap, bench.dtype);
  auto attends = attention(model, bench.stream, heap, bench.dtype);
  for (const auto& [name, choices] : rivals) {
    bench.stream.attach(std::make_shared<GemmState>(choices));
    for (auto* list : {&products, &attends}) {
      for (auto& item : *list) item.best = 1e30;
    }
    Work peak = bench.peak();
    time_all(bench, products, peak);
    time_all(bench, attends, peak);
    const double top = gflops({peak});
    fmt::print("  {:9} linear {:6.1f} GFLOP/s = {:.3f} of peak {:.0f}; attention forward {:.0f}, backward {:.0f}\n",
               name, gflops(products), gflops(products) / top, top, gflops({attends[0]}), gflops({attends[1]}));
  }
}

int run(const std::vector<std::string>& arguments) {
  int threads = 1;
  DType dtype = DType::fp32;
  double budget = 2.0;
  std::string names;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const bool more = i + 1 < arguments.size();
    if (arguments[i] == "--threads" && more) {
      threads = std::clamp(std::atoi(arguments[++i].c_str()), 1, 256);
    } else if (arguments[i] == "--dtype" && more) {
      dtype = arguments[++i] == "bf16" ? DType::bf16 : DType::fp32;
    } else if (arguments[i] == "--seconds" && more) {
      budget = std::atof(arguments[++i].c_str());
    } else {
      names += arguments[i];
    }
  }
  for (const auto& library : cpu::blas_libraries()) fmt::print("{}: {}\n", library.name, library.version);
  const Bench bench{Stream::cpu(threads), threads, dtype, budget};
  for (const Model& model : kModels) {
    if (names.empty() || names.find(model.name) != std::string::npos) measure(bench, model);
  }
  return 0;
}

}  // namespace
}  // namespace trident

int main(int count, char** arguments) {
  try {
    return trident::run({arguments + 1, arguments + count});
  } catch (const std::exception& problem) {
    fmt::print(stderr, "{}\n", problem.what());
    return 1;
  }
}
