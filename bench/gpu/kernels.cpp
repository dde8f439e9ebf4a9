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

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/allocator.h"
#include "core/cuda_devices.h"
#include "core/error.h"
#include "core/memory.h"
#include "core/philox.h"
#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/cross_entropy.h"
#include "kernels/cuda/attention.h"
#include "kernels/elementwise.h"
#include "kernels/embedding.h"
#include "kernels/gemm_tuning.h"
#include "kernels/linear.h"
#include "kernels/norm.h"
#include "kernels/optimizer.h"
#include "kernels/rope.h"

namespace trident {
namespace {

constexpr int kSkipped = 77;
constexpr double kSampleSeconds = 4e-3;                  // a synchronize() is well below a hundredth of it
constexpr double kRotatedBytes = double{1ull << 29};     // several times any L2 cache
constexpr int64_t kPattern = (int64_t{1} << 22) + 1088;  // elements; no multiple of a row's length

struct Options {
  std::string only, json;
  int samples = 20;
};

struct Model {
  const char* name;
  int64_t batch, sequence, hidden, inner, heads, kv_heads, head_dim, vocabulary;
  bool llama;

  [[nodiscard]] int64_t rows() const { return batch * sequence; }
  [[nodiscard]] AttentionShape attention() const { return {batch, sequence, heads, kv_heads, head_dim}; }
};
constexpr Model kModels[] = {
    {"gpt2-124m", 64, 1024, 768, 3072, 12, 12, 64, 50304, false},
    {"gpt2-1558m", 16, 1024, 1600, 6400, 25, 25, 64, 50304, false},
    {"llama-8b", 2, 8192, 4096, 14336, 32, 8, 128, 128256, true},
};

enum class Unit { bytes, flops };

/// One line of the table.
struct Work {
  std::string family, name, shape;
  Unit unit = Unit::bytes;
  double amount = 0;  ///< bytes or operations of one call
  std::function<void(int64_t call)> run;

  [[nodiscard]] std::string label() const { return family + " " + name + " " + shape; }
};

struct Timing {
  double seconds = 0;  ///< of one call, the median
  double spread = 0;   ///< from the first to the ninth decile, over the median
};

std::string shape_of(int64_t rows, int64_t columns) { return fmt::format("{}x{}", rows, columns); }

double product(int64_t a, int64_t b, int64_t c = 1) {
  return static_cast<double>(a) * static_cast<double>(b) * static_cast<double>(c);
}

/// Random tensors on one GPU.
class Memory {
 public:
  explicit Memory(Stream stream) : stream_(std::move(stream)), allocator_(stream_.device()) {}

  /// Normal with deviation `scale`.
  Tensor random(Shape shape, DType dtype = DType::bf16, double scale = 1.0) {
    Tensor tensor = allocator_.allocate(shape, dtype);
    const Tensor& source = pattern(dtype, scale);
    int64_t from = fills_++ * 7919 * 64 % kPattern;  // no two tensors begin alike
    for (int64_t begin = 0; begin < tensor.elements();) {
      const int64_t count = std::min(kPattern - from, tensor.elements() - begin);
      copy(stream_, source.flat_view(from, {count}), tensor.flat_view(begin, {count}));
      begin += count;
      from = 0;
    }
    return tensor;
  }

  /// Uniform in [0, limit).
  Tensor indices(Shape shape, int64_t limit) {
    const Tensor host = host_indices(shape, limit);
    return upload(host);
  }

  Tensor constant(Shape shape, float value) {
    Tensor host = HeapAllocator().allocate(shape, DType::fp32);
    std::fill_n(host.data<float>(), host.elements(), value);
    return upload(host);
  }

  static Tensor host_indices(Shape shape, int64_t limit) {
    Tensor host = HeapAllocator().allocate(shape, DType::int32);
    const RandomStream stream(2, "bench");
    for (int64_t i = 0; i < host.elements(); ++i) {
      const double u = stream.uniform(static_cast<uint64_t>(i));
      host.data<int32_t>()[i] = static_cast<int32_t>(u * static_cast<double>(limit));
    }
    return host;
  }

  Tensor upload(const Tensor& host) {
    Tensor tensor = allocator_.allocate(host.shape(), host.dtype());
    copy(stream_, host, tensor);
    stream_.synchronize();  // the host's memory may go now
    return tensor;
  }

 private:
  const Tensor& pattern(DType dtype, double scale) {
    Tensor& known = patterns_[{dtype, scale}];
    if (known.defined()) return known;
    const Tensor host = HeapAllocator().allocate({kPattern}, DType::fp32);
    RandomStream(1, "bench").normal(0, {host.data<float>(), static_cast<size_t>(kPattern)});
    std::transform(host.data<float>(), host.data<float>() + kPattern, host.data<float>(),
                   [&](float x) { return x * static_cast<float>(scale); });
    known = upload(host);
    if (dtype != DType::fp32) {
      Tensor narrow = allocator_.allocate({kPattern}, dtype);
      cast(stream_, known, narrow);
      known = narrow;
    }
    return known;
  }

  Stream stream_;
  HeapAllocator allocator_;
  std::map<std::pair<DType, double>, Tensor> patterns_;
  int64_t fills_ = 0;
};

/// Times works and prints them.
class Bench {
 public:
  Bench(const Stream& queue, Options options) : memory(queue), stream(queue), options_(std::move(options)) {
    if (!options_.json.empty()) json_.reset(std::fopen(options_.json.c_str(), "w"));
    if (!options_.json.empty() && !json_)
      throw Error(ErrorCode::io, "bench_gpu_kernels", "cannot write " + options_.json);
  }

  void measure_ceilings(const char* when) {
    if (copy_rate_ == 0) {
      copy_rate_ = copy_rate();
      product_rate_ = product_rate();
      fmt::print("ceilings {}: copy {:.0f} GB/s, 8192x8192x8192 bf16 {:.0f} TFLOP/s\n", when, copy_rate_ / 1e9,
                 product_rate_ / 1e12);
      fmt::print("{:<16}{:<26}{:<20}{:>10}{:>10} {:<9}{:>8}{:>9}\n", "family", "kernel", "shape", "µs", "rate", "",
                 "spread", "ceiling");
    } else {
      fmt::print("ceilings {}: copy {:.0f} GB/s, 8192x8192x8192 bf16 {:.0f} TFLOP/s\n", when, copy_rate() / 1e9,
                 product_rate() / 1e12);
    }
  }

  /// Whether a line, and so its memory, is wanted.
  [[nodiscard]] bool wants(const std::string& label) const { return label.find(options_.only) != std::string::npos; }

  /// How many sets of inputs of so many bytes to rotate among.
  static int64_t sets(double bytes) {
    return std::clamp<int64_t>(static_cast<int64_t>(kRotatedBytes / bytes) + 1, 1, 32);
  }

  /// `prepare` allocates and returns the call; it runs only where the line is wanted, and its memory goes afterwards.
  void line(Work work, const std::function<std::function<void(int64_t)>()>& prepare) {
    if (!wants(work.label())) return;
    try {
      work.run = prepare();
      print(work, time(work.run));
    } catch (const std::exception& error) {
      fmt::print("{:<16}{:<26}{:<20} FAILED: {}\n", work.family, work.name, work.shape, error.what());
      ++failures_;
    }
    std::fflush(stdout);
    ++lines_;
  }

  [[nodiscard]] int lines() const { return lines_; }
  [[nodiscard]] int failures() const { return failures_; }

  Memory memory;
  Stream stream;

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };

  double seconds_of(const std::function<void(int64_t)>& run, int64_t calls) {
    const auto start = std::chrono::steady_clock::now();
    for (int64_t i = 0; i < calls; ++i) run(next_call_++);
    stream.synchronize();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  Timing time(const std::function<void(int64_t)>& run) {
    seconds_of(run, 3);  // modules load, the matrix library chooses
    const double once = seconds_of(run, 3) / 3;
    const auto calls = std::clamp<int64_t>(static_cast<int64_t>(kSampleSeconds / once) + 1, 1, 2000);
    std::vector<double> samples(static_cast<size_t>(options_.samples));
    for (double& sample : samples) sample = seconds_of(run, calls) / static_cast<double>(calls);
    std::sort(samples.begin(), samples.end());
    const size_t count = samples.size();
    const double median = (samples[(count - 1) / 2] + samples[count / 2]) / 2;
    return {median, (samples[count - 1 - count / 10] - samples[count / 10]) / median};
  }

  void print(const Work& work, const Timing& timing) {
    const bool moves = work.unit == Unit::bytes;
    const double rate = work.amount / timing.seconds, share = rate / (moves ? copy_rate_ : product_rate_);
    fmt::print("{:<16}{:<26}{:<20}{:>10.1f}{:>10.1f} {:<9}{:>7.1f}%{:>9.3f}\n", work.family, work.name, work.shape,
               timing.seconds * 1e6, rate / (moves ? 1e9 : 1e12), moves ? "GB/s" : "TFLOP/s", timing.spread * 100,
               share);
    if (!json_) return;
    fmt::print(json_.get(),
               R"({{"family":"{}","kernel":"{}","shape":"{}","us":{},"{}":{},"of_ceiling":{},"spread":{}}})"
               "\n",
               work.family, work.name, work.shape, timing.seconds * 1e6, moves ? "gb_s" : "tflop_s",
               rate / (moves ? 1e9 : 1e12), share, timing.spread);
    std::fflush(json_.get());
  }

  /// Bytes read and written in a second by copies of 2 GiB.
  double copy_rate() {
    const Tensor from = memory.random({int64_t{1} << 30}), to = memory.random({int64_t{1} << 30});
    return 2.0 * static_cast<double>(from.bytes()) / sustained([&](int64_t) { copy(stream, from, to); });
  }

  double product_rate() {
    constexpr int64_t kSize = 8192;
    const Tensor x = memory.random({kSize, kSize}), w = memory.random({kSize, kSize}, DType::bf16, 0.02);
    Tensor y = memory.random({kSize, kSize});
    return 2.0 * product(kSize, kSize, kSize) / sustained([&](int64_t) { linear_forward(stream, x, w, {}, y); });
  }

  /// Seconds of one call after half a second of them, so that the clocks are those of a busy card.
  double sustained(const std::function<void(int64_t)>& run) {
    constexpr double kBusySeconds = 0.5;
    for (double busy = 0; busy < kBusySeconds;) busy += seconds_of(run, 32);
    return time(run).seconds;
  }

  Options options_;
  std::unique_ptr<std::FILE, Close> json_;
  double copy_rate_ = 0, product_rate_ = 0;
  int64_t next_call_ = 0;
  int lines_ = 0, failures_ = 0;
};

/// Sets of tensors of equal shapes to rotate among: tensor `index` of the set whose turn it is at `call`.
class Rotation {
 public:
  Rotation(Bench& bench, std::initializer_list<Shape> shapes, DType dtype = DType::bf16) {
    double bytes = 0;
    for (const Shape& shape : shapes)
      bytes += static_cast<double>(shape.elements()) * static_cast<double>(size_of(dtype));
    sets_.resize(static_cast<size_t>(Bench::sets(bytes)));
    for (std::vector<Tensor>& set : sets_)
      for (const Shape& shape : shapes) set.push_back(bench.memory.random(shape, dtype));
  }
  Tensor& at(int64_t call, size_t index) { return sets_[static_cast<size_t>(call) % sets_.size()][index]; }

 private:
  std::vector<std::vector<Tensor>> sets_;
};

// Every call below keeps what it captures alive by value: tensors share their memory, and rotations are shared.
using Call = std::function<void(int64_t)>;

std::shared_ptr<Rotation> rotate(Bench& bench, std::initializer_list<Shape> shapes, DType dtype = DType::bf16) {
  return std::make_shared<Rotation>(bench, shapes, dtype);
}

void bench_elementwise(Bench& bench) {
  const Stream& stream = bench.stream;
  constexpr int64_t kCount = int64_t{1} << 26;
  const auto count = static_cast<double>(kCount);
  const std::string shape = fmt::format("{}", kCount);
  bench.line({"elementwise", "add bf16", shape, Unit::bytes, 6 * count, {}}, [&]() -> Call {
    auto sets = rotate(bench, {{kCount}, {kCount}, {kCount}});
    return [=](int64_t i) { add(stream, sets->at(i, 0), sets->at(i, 1), sets->at(i, 2)); };
  });
  bench.line({"elementwise", "accumulate fp32", shape, Unit::bytes, 12 * count, {}}, [&]() -> Call {
    auto sets = rotate(bench, {{kCount}, {kCount}}, DType::fp32);
    return [=](int64_t i) { accumulate(stream, sets->at(i, 0), sets->at(i, 1)); };
  });
  bench.line({"elementwise", "cast fp32 to bf16", shape, Unit::bytes, 6 * count, {}}, [&]() -> Call {
    auto wide = rotate(bench, {{kCount}}, DType::fp32);
    auto narrow = rotate(bench, {{kCount}});
    return [=](int64_t i) { cast(stream, wide->at(i, 0), narrow->at(i, 0)); };
  });
}

void bench_norms(Bench& bench, const Model& model) {
  const Stream& stream = bench.stream;
  const int64_t rows = model.rows(), columns = model.hidden;
  const double tensor = 2 * product(rows, columns);  // bytes
  const std::string family = model.llama ? "rms norm" : "layer norm", shape = shape_of(rows, columns);
  const auto weights = [&] {
    Tensor bias = model.llama ? Tensor() : bench.memory.random({columns});
    return NormWeights{model.llama ? NormKind::rms : NormKind::layer, 1e-5, bench.memory.random({columns}), bias};
  };
  const auto statistics = [&] { return bench.memory.constant({rows, 2}, 0.5f); };
  const Shape x{rows, columns};
  bench.line({family, "forward", shape, Unit::bytes, 2 * tensor, {}}, [&]() -> Call {
    return [=, sets = rotate(bench, {x, x}), w = weights(), stats = statistics()](int64_t i) mutable {
      norm_forward(stream, w, sets->at(i, 0), sets->at(i, 1), stats);
    };
  });
  bench.line({family, "add and forward", shape, Unit::bytes, 4 * tensor, {}}, [&]() -> Call {
    return [=, sets = rotate(bench, {x, x, x, x}), w = weights(), stats = statistics()](int64_t i) mutable {
      add_norm_forward(stream, w, sets->at(i, 0), sets->at(i, 1), sets->at(i, 2), sets->at(i, 3), stats);
    };
  });
  bench.line({family, "recompute", shape, Unit::bytes, 2 * tensor, {}}, [&]() -> Call {
    return [=, sets = rotate(bench, {x, x}), w = weights(), stats = statistics()](int64_t i) {
      norm_recompute(stream, w, sets->at(i, 0), stats, sets->at(i, 1));
    };
  });
  bench.line({family, "backward", shape, Unit::bytes, 4 * tensor, {}}, [&]() -> Call {
    Tensor sums = bench.memory.random({model.llama ? 1 : 2, columns}, DType::fp32);
    return [=, sets = rotate(bench, {x, x, x, x}), w = weights(), stats = statistics()](int64_t i) mutable {
      norm_backward(stream, w, sets->at(i, 0), sets->at(i, 1), stats, sets->at(i, 2), sets->at(i, 3), sums);
    };
  });
}

void bench_activation(Bench& bench, const Model& model) {
  const Stream& stream = bench.stream;
  const int64_t rows = model.rows(), columns = model.inner;
  const double tensor = 2 * product(rows, columns);
  const std::string family = model.llama ? "swiglu" : "gelu", shape = shape_of(rows, columns);
  const auto forward = model.llama ? swiglu_forward : gelu_forward;
  const auto backward = model.llama ? swiglu_backward : gelu_backward;
  const int64_t wide = model.llama ? 2 : 1;  // tensors that x is as large as
  const Shape x{rows, wide * columns}, y{rows, columns};
  bench.line({family, "forward", shape, Unit::bytes, static_cast<double>(wide + 1) * tensor, {}}, [&]() -> Call {
    return [=, sets = rotate(bench, {x, y})](int64_t i) { forward(stream, sets->at(i, 0), sets->at(i, 1)); };
  });
  bench.line({family, "backward", shape, Unit::bytes, static_cast<double>(2 * wide + 1) * tensor, {}}, [&]() -> Call {
    return [=, sets = rotate(bench, {y, x, x})](int64_t i) {
      Tensor none;
      backward(stream, sets->at(i, 0), sets->at(i, 1), sets->at(i, 2), none);
    };
  });
  bench.line({family, "backward with y", shape, Unit::bytes, static_cast<double>(2 * wide + 2) * tensor, {}},
             [&]() -> Call {
               return [=, sets = rotate(bench, {y, x, x, y})](int64_t i) {
                 backward(stream, sets->at(i, 0), sets->at(i, 1), sets->at(i, 2), sets->at(i, 3));
               };
             });
}

void bench_rope(Bench& bench, const Model& model) {
  const Stream& stream = bench.stream;
  const AttentionShape shape = model.attention();
  const Shape qkv{model.batch, model.sequence, shape.qkv_columns()};
  const double bytes = 4 * product(model.rows(), (model.heads + model.kv_heads) * model.head_dim);
  bench.line({"rope", "forward", shape_of(model.rows(), shape.qkv_columns()), Unit::bytes, bytes, {}}, [&]() -> Call {
    Tensor table = bench.memory.random({model.sequence, model.head_dim}, DType::fp32);
    rope_table(stream, 5e5, table);
    return [=, sets = rotate(bench, {qkv})](int64_t i) {
      rope(stream, shape, table, 0, RopeDirection::forward, sets->at(i, 0));
    };
  });
}

void bench_embedding(Bench& bench, const Model& model) {
  const Stream& stream = bench.stream;
  const int64_t rows = model.rows(), hidden = model.hidden;
  const std::string shape = shape_of(rows, hidden);
  const Shape batch{model.batch, model.sequence};
  bench.line({"embedding", "forward", shape, Unit::bytes, 4 * product(rows, hidden), {}}, [&]() -> Call {
    const Tensor tokens = bench.memory.indices(batch, model.vocabulary);
    const Tensor table = bench.memory.random({model.vocabulary, hidden});
    const Tensor positions = model.llama ? Tensor() : bench.memory.random({model.sequence, hidden});
    return [=, sets = rotate(bench, {{rows, hidden}})](int64_t i) {
      embedding_forward(stream, tokens, table, positions, 0, sets->at(i, 0));
    };
  });
  // Each gradient is read, and each row of the table that has any is read and written.
  const Tensor tokens = Memory::host_indices(batch, model.vocabulary);
  const std::set<int32_t> distinct(tokens.data<int32_t>(), tokens.data<int32_t>() + tokens.elements());
  const double bytes = 2 * product(rows, hidden) + 8 * product(static_cast<int64_t>(distinct.size()), hidden);
  bench.line({"embedding", "backward", shape, Unit::bytes, bytes, {}}, [&]() -> Call {
    Tensor dtable = bench.memory.random({model.vocabulary, hidden}, DType::fp32);
    Tensor dpositions = model.llama ? Tensor() : bench.memory.random({model.sequence, hidden}, DType::fp32);
    return [=, there = bench.memory.upload(tokens), sets = rotate(bench, {{rows, hidden}})](int64_t i) mutable {
      embedding_backward(stream, there, sets->at(i, 0), dtable, dpositions);
    };
  });
}

void bench_cross_entropy(Bench& bench, int64_t rows, int64_t vocabulary) {
  const Stream& stream = bench.stream;
  const double tensor = 2 * product(rows, vocabulary);
  const std::string shape = shape_of(rows, vocabulary);
  bench.line({"cross entropy", "statistics", shape, Unit::bytes, tensor, {}}, [&]() -> Call {
    const Tensor labels = bench.memory.indices({rows}, vocabulary);
    Tensor statistics = bench.memory.random({rows, 3}, DType::fp32);
    return [=, sets = rotate(bench, {{rows, vocabulary}})](int64_t i) mutable {
      cross_entropy_statistics(stream, sets->at(i, 0), labels, 0, statistics);
    };
  });
  bench.line({"cross entropy", "backward", shape, Unit::bytes, 2 * tensor, {}}, [&]() -> Call {
    const Tensor labels = bench.memory.indices({rows}, vocabulary);
    // Repeated on its own output, with a large lse: the values stay ordinary numbers.
    const Tensor lse = bench.memory.constant({rows}, 10.0f);
    return [=, sets = rotate(bench, {{rows, vocabulary}})](int64_t i) {
      cross_entropy_backward(stream, labels, 0, lse, 1.0, sets->at(i, 0));
    };
  });
}

/// `count` elements as a model's storage lies: matrices that decay, and gains and biases that do not.
std::vector<FlatRange> model_ranges(int64_t count) {
  constexpr int64_t kMatrix = int64_t{768} * 3072, kVector = 3072;
  std::vector<FlatRange> ranges;
  for (int64_t begin = 0; begin < count;) {
    const bool decays = ranges.size() % 2 == 0;
    const int64_t end = std::min(count, begin + (decays ? kMatrix : kVector));
    ranges.push_back({begin, end, decays});
    begin = end;
  }
  return ranges;
}

void bench_optimizer(Bench& bench) {
  const Stream& stream = bench.stream;
  constexpr int64_t kCount = int64_t{1} << 28;
  const auto count = static_cast<double>(kCount);
  const std::string shape = fmt::format("{}", kCount);
  for (const bool many : {false, true}) {
    const std::vector<FlatRange> ranges = many ? model_ranges(kCount) : std::vector{FlatRange{0, kCount, true}};
    bench.line({"adamw", fmt::format("to bf16, {} ranges", ranges.size()), shape, Unit::bytes, 30 * count, {}},
               [&]() -> Call {
                 Tensor master = bench.memory.random({kCount}, DType::fp32, 0.02);
                 const Tensor grad = bench.memory.random({kCount}, DType::fp32, 1e-3);
                 Tensor m = bench.memory.random({kCount}, DType::fp32, 1e-3);
                 Tensor v = bench.memory.constant({kCount}, 1e-6f), compute = bench.memory.random({kCount});
                 return [=](int64_t i) mutable {
                   const AdamWStep step{.lr = 1e-6, .weight_decay = 0.1, .step = i + 1};
                   adamw(stream, step, ranges, master, grad, m, v, compute);
                 };
               });
  }
  bench.line({"sums of squares", "one range", shape, Unit::bytes, 4 * count, {}}, [&]() -> Call {
    const Tensor grad = bench.memory.random({kCount}, DType::fp32);
    return [=](int64_t) {
      ExactSum sum;
      add_sums_of_squares(stream, grad, std::vector{FlatRange{0, kCount, true}}, sum);
      if (!(sum.value() > 0)) throw Error(ErrorCode::internal, "bench_gpu_kernels", "squares that sum to nothing");
    };
  });
}

/// As a training does at its start; without its cache, so that every run times anew.
void choose_algorithm(const Stream& stream, int64_t rows, int64_t in, int64_t out, bool biased) {
  const auto recorder = std::make_shared<GemmRecorder>(DeviceKind::cuda);
  const Stream dry = Stream::meta();
  dry.attach(recorder);
  HeapAllocator meta(Device::meta());
  const Tensor w = meta.allocate({out, in}, DType::bf16), bias = meta.allocate({out}, DType::bf16);
  Tensor x = meta.allocate({rows, in}, DType::bf16), y = meta.allocate({rows, out}, DType::bf16);
  Tensor dw = meta.allocate({out, in}, DType::fp32), none;
  linear_forward(dry, x, w, biased ? bias : none, y);
  linear_backward_input(dry, y, w, x);
  linear_backward_weight(dry, y, x, dw, none);
  follow_gemm_choices(stream, tune_gemms(stream, recorder->products(), {}));
}

void bench_linear(Bench& bench, const Model& model, const char* part, int64_t in, int64_t out) {
  const Stream& stream = bench.stream;
  const int64_t rows = model.rows();
  const double flops = 2 * product(rows, in, out);
  const std::string family = "linear " + std::string(part), shape = fmt::format("{}x{}x{}", rows, out, in);
  const bool biased = !model.llama && std::string(part) != "head";
  const auto weight = [&] { return bench.memory.random({out, in}, DType::bf16, 0.02); };
  bool wanted = false;
  for (const char* name : {"forward", "backward input", "backward weight"})
    wanted = wanted || bench.wants(fmt::format("{} {} {}", family, name, shape));
  if (wanted) choose_algorithm(stream, rows, in, out, biased);
  bench.line({family, "forward", shape, Unit::flops, flops, {}}, [&]() -> Call {
    const Tensor bias = biased ? bench.memory.random({out}) : Tensor();
    return [=, w = weight(), sets = rotate(bench, {{rows, in}, {rows, out}})](int64_t i) {
      linear_forward(stream, sets->at(i, 0), w, bias, sets->at(i, 1));
    };
  });
  bench.line({family, "backward input", shape, Unit::flops, flops, {}}, [&]() -> Call {
    return [=, w = weight(), sets = rotate(bench, {{rows, out}, {rows, in}})](int64_t i) {
      linear_backward_input(stream, sets->at(i, 0), w, sets->at(i, 1));
    };
  });
  bench.line({family, "backward weight", shape, Unit::flops, flops, {}}, [&]() -> Call {
    Tensor dw = bench.memory.random({out, in}, DType::fp32);
    Tensor dbias = biased ? bench.memory.random({out}, DType::fp32) : Tensor();
    return [=, sets = rotate(bench, {{rows, out}, {rows, in}})](int64_t i) mutable {
      linear_backward_weight(stream, sets->at(i, 0), sets->at(i, 1), dw, dbias);
    };
  });
}

void bench_linears(Bench& bench, const Model& model) {
  bench_linear(bench, model, "qkv", model.hidden, model.attention().qkv_columns());
  bench_linear(bench, model, "out", model.heads * model.head_dim, model.hidden);
  bench_linear(bench, model, "up", model.hidden, (model.llama ? 2 : 1) * model.inner);
  bench_linear(bench, model, "down", model.inner, model.hidden);
  bench_linear(bench, model, "head", model.hidden, model.vocabulary);
}

void bench_attention(Bench& bench, const Model& model, cuda::AttentionKernel kernel, const std::string& name) {
  const Stream& stream = bench.stream;
  const AttentionShape shape = model.attention();
  if (!cuda::attention_kernel_supports(kernel, stream, shape, DType::bf16)) return;
  cuda::use_attention_kernel(kernel);
  const std::string label = fmt::format("{}/{}x{} T{} B{} {}", model.heads, model.kv_heads, model.head_dim,
                                        model.sequence, model.batch, name);
  // Two products of half a score matrix each; backward has five.
  const double forward = 2 * product(model.rows(), model.sequence, model.heads * model.head_dim);
  const Shape qkv{model.batch, model.sequence, shape.qkv_columns()};
  const Shape out{model.batch, model.sequence, model.heads * model.head_dim};
  const Shape lse{model.batch, model.heads, model.sequence};
  bench.line({"attention", "forward", label, Unit::flops, forward, {}}, [&]() -> Call {
    return [=, sums = bench.memory.random(lse, DType::fp32), sets = rotate(bench, {qkv, out})](int64_t i) mutable {
      attention_forward(stream, shape, sets->at(i, 0), sets->at(i, 1), sums);
    };
  });
  bench.line({"attention", "backward", label, Unit::flops, 2.5 * forward, {}}, [&]() -> Call {
    const Tensor input = bench.memory.random(qkv), dout = bench.memory.random(out);
    Tensor result = bench.memory.random(out), sums = bench.memory.random(lse, DType::fp32);
    attention_forward(stream, shape, input, result, sums);
    return [=, sets = rotate(bench, {qkv})](int64_t i) {
      attention_backward(stream, shape, input, result, sums, dout, sets->at(i, 0));
    };
  });
  cuda::use_attention_kernel(cuda::AttentionKernel::automatic);
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
}  // namespace trident

int main(int argc, char** argv) {
  trident::Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i], value = i + 1 < argc ? argv[i + 1] : "";
    if (value.empty()) return trident::usage();
    if (name == "--only") {
      options.only = value;
    } else if (name == "--json") {
      options.json = value;
    } else if (name == "--samples") {
      options.samples = std::atoi(value.c_str());
    } else {
      return trident::usage();
    }
  }
  if (options.samples < 1) return trident::usage();
  try {
    return trident::run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_gpu_kernels: {}\n", error.what());
    return 1;
  }
}
