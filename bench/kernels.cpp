// Times every CPU kernel that is not a matrix product, next to the memory bandwidth of the same run.
//
//   bench_kernels [rows] [columns] [threads]
//
// GB/s counts the bytes that the algorithm must read and write once. "of triad" compares them with a STREAM triad on
// arrays that no cache holds: more than 1 means that the tensors stayed in a cache.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <limits>
#include <vector>

#include "bench/random_tensors.h"
#include "core/allocator.h"
#include "kernels/activation.h"
#include "kernels/cross_entropy.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/norm.h"
#include "kernels/optimizer.h"
#include "kernels/rope.h"

namespace trident {
namespace {

constexpr int64_t kLarge = int64_t{1} << 24;  // elements: 64 MiB each, beyond the last-level cache

/// Best time of one call in nanoseconds, over at least 0.2 s.
double best_ns(const std::function<void()>& call) {
  using Clock = std::chrono::steady_clock;
  call();
  double best = std::numeric_limits<double>::infinity();
  const auto stop = Clock::now() + std::chrono::milliseconds(200);
  for (int runs = 0; runs < 5 || Clock::now() < stop; ++runs) {
    const auto start = Clock::now();
    call();
    best = std::min(best, std::chrono::duration<double, std::nano>(Clock::now() - start).count());
  }
  return best;
}

Tensor random(const Shape& shape, DType dtype = DType::fp32) {
  Tensor single = bench::random_normal(shape);
  if (dtype == DType::fp32) return single;
  Tensor tensor = HeapAllocator().allocate(shape, dtype);
  cast(Stream::cpu(1), single, tensor);
  return tensor;
}

/// a = b + s·c (McCalpin's STREAM), in bytes per nanosecond. 16 bytes an element: a store first reads its cache line.
double triad(const Stream& stream) {
  Tensor a = random({kLarge}), b = random({kLarge}), c = random({kLarge});
  constexpr int64_t kBlock = int64_t{1} << 16;
  const std::function<void(int64_t)> work = [&](int64_t block) {
    float* out = a.data<float>() + block * kBlock;
    const float* left = b.data<float>() + block * kBlock;
    const float* right = c.data<float>() + block * kBlock;
    for (int64_t i = 0; i < kBlock; ++i) out[i] = left[i] + 3.0f * right[i];
  };
  return 16.0 * static_cast<double>(kLarge) / best_ns([&] { stream.pool().parallel_for(kLarge / kBlock, work); });
}

/// Prints one line per kernel.
class Table {
 public:
  Table(int threads, double triad_rate) : threads_(threads), triad_(triad_rate) {
    fmt::print("\n{} thread(s): triad {:.1f} GB/s\n", threads, triad_rate);
    fmt::print("{:<28}{:>10}{:>12}{:>10}{:>10}\n", "kernel", "µs", "ns/element", "GB/s", "of triad");
  }
  /// `bytes`: read and written per element.
  void line(const char* name, int64_t elements, double bytes, const std::function<void()>& call) const {
    const double ns = best_ns(call), rate = bytes * static_cast<double>(elements) / ns;
    fmt::print("{:<28}{:>9.1f}{:>12.3f}{:>10.1f}{:>10.2f}\n", name, ns / 1e3, ns / static_cast<double>(elements), rate,
               rate / triad_);
  }
  [[nodiscard]] int threads() const { return threads_; }

 private:
  int threads_;
  double triad_;
};

void bench_rows(const Table& table, const Stream& stream, int64_t rows, int64_t columns, DType dtype) {
  const int64_t count = rows * columns;
  const auto size = static_cast<double>(size_of(dtype));
  Tensor x = random({rows, columns}, dtype), y = random({rows, columns}, dtype), z = random({rows, columns}, dtype);
  Tensor wide = random({rows, 2 * columns}, dtype), d_wide = random({rows, 2 * columns}, dtype), none;
  table.line("add", count, 3 * size, [&] { add(stream, x, y, z); });
  table.line("gelu_forward", count, 2 * size, [&] { gelu_forward(stream, x, y); });
  table.line("gelu_backward", count, 3 * size, [&] { gelu_backward(stream, z, x, y, none); });
  table.line("swiglu_forward", count, 3 * size, [&] { swiglu_forward(stream, wide, y); });
  table.line("swiglu_backward", count, 5 * size, [&] { swiglu_backward(stream, z, wide, d_wide, none); });
  table.line("swiglu_backward with y", count, 6 * size, [&] { swiglu_backward(stream, z, wide, d_wide, y); });

  const Tensor x0 = random({rows, columns}, dtype), dy0 = random({rows, columns}, dtype);
  Tensor stats = random({rows, 2}), partials = random({2, columns});
  for (const NormKind kind : {NormKind::rms, NormKind::layer}) {
    const bool rms = kind == NormKind::rms;
    NormWeights weights{kind, 1e-5, random({columns}, dtype), rms ? Tensor() : random({columns}, dtype)};
    Tensor sums = partials.slice(0, rms ? 1 : 2);
    table.line(rms ? "rms norm_forward" : "layer norm_forward", count, 2 * size,
               [&] { norm_forward(stream, weights, x0, y, stats); });
    table.line("  add_norm_forward", count, 4 * size, [&] { add_norm_forward(stream, weights, x0, dy0, z, y, stats); });
    table.line("  norm_recompute", count, 2 * size, [&] { norm_recompute(stream, weights, x0, stats, y); });
    table.line("  norm_backward", count, 4 * size, [&] { norm_backward(stream, weights, dy0, x0, stats, x, z, sums); });
  }
}

void bench_model_edges(const Table& table, const Stream& stream, int64_t rows, int64_t columns) {
  const AttentionShape shape{1, rows, std::max<int64_t>(1, columns / 64), std::max<int64_t>(1, columns / 64), 64};
  Tensor angles = random({rows, 64}), qkv = random({rows, shape.qkv_columns()});
  rope_table(stream, 1e4, angles);
  table.line("rope", rows * shape.qkv_columns() * 2 / 3, 8,
             [&] { rope(stream, shape, angles, 0, RopeDirection::forward, qkv); });

  constexpr int64_t kVocabulary = 8192;
  const Tensor tokens = bench::random_indices({1, rows}, kVocabulary), embedding = random({kVocabulary, columns});
  Tensor y = random({1, rows, columns}), dtable = random({kVocabulary, columns}), none;
  table.line("embedding_forward", rows * columns, 8, [&] { embedding_forward(stream, tokens, embedding, {}, 0, y); });
  table.line("embedding_backward", rows * columns, 12, [&] { embedding_backward(stream, tokens, y, dtable, none); });

  for (const int64_t vocabulary : {kVocabulary, int64_t{50257}}) {
    const int64_t count = 256 * vocabulary;
    const Tensor labels = bench::random_indices({256}, vocabulary);
    Tensor logits = random({256, vocabulary}), statistics = random({256, 3}), lse = random({256});
    table.line("cross_entropy_forward", count, 4,
               [&] { cross_entropy_statistics(stream, logits, labels, 0, statistics); });
    // Repeated on its own output, with a large lse: the values stay ordinary numbers.
    std::fill_n(lse.data<float>(), 256, 10.0f);
    table.line("cross_entropy_backward", count, 8,
               [&] { cross_entropy_backward(stream, labels, 0, lse, 1.0, logits); });
  }
}

void bench_optimizer(const Table& table, const Stream& stream) {
  Tensor master = random({kLarge}), grad = random({kLarge}), m = random({kLarge}), v = random({kLarge});
  Tensor none, half = random({kLarge}, DType::bf16);
  std::transform(v.data<float>(), v.data<float>() + kLarge, v.data<float>(), [](float x) { return x * x; });
  const FlatRange all[] = {{0, kLarge, true}};
  const AdamWStep step{.lr = 1e-4};
  table.line("adamw", kLarge, 28, [&] { adamw(stream, step, all, master, grad, m, v, none); });
  table.line("adamw to bf16", kLarge, 30, [&] { adamw(stream, step, all, master, grad, m, v, half); });
  table.line("sum_of_squares", kLarge, 4, [&] {
    ExactSum sum;
    add_sums_of_squares(stream, grad, std::vector{FlatRange{0, grad.elements()}}, sum);
    if (sum.value() < 0) std::abort();
  });
  table.line("cast fp32 to bf16", kLarge, 6, [&] { cast(stream, master, half); });
  table.line("accumulate", kLarge, 12, [&] { accumulate(stream, grad, m); });
}

int run(int argc, char** argv) {
  const int64_t rows = argc > 1 ? std::atoll(argv[1]) : 2048;
  const int64_t columns = argc > 2 ? std::atoll(argv[2]) : 256;
  const int most = argc > 3 ? std::atoi(argv[3]) : std::min(2, available_cpus());
  if (rows < 1 || columns < 1 || most < 1) {
    fmt::print(stderr, "usage: bench_kernels [rows] [columns] [threads]\n");
    return 64;
  }
  for (int threads = 1; threads <= most; ++threads) {
    const Stream stream = Stream::cpu(threads);
    const Table table(threads, triad(stream));
    fmt::print("fp32 [{} x {}]\n", rows, columns);
    bench_rows(table, stream, rows, columns, DType::fp32);
    fmt::print("bf16 [{} x {}]\n", rows, columns);
    bench_rows(table, stream, rows, columns, DType::bf16);
    fmt::print("fp32\n");
    bench_model_edges(table, stream, rows, columns);
    bench_optimizer(table, stream);
  }
  return 0;
}

}  // namespace
}  // namespace trident

int main(int argc, char** argv) { return trident::run(argc, argv); }
