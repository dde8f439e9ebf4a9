#include "bench/gpu/bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "bench/random_tensors.h"
#include "core/error.h"
#include "core/memory.h"
#include "kernels/elementwise.h"
#include "kernels/linear.h"

namespace trident::bench {
namespace {

constexpr double kSampleSeconds = 4e-3;                  // a synchronize() is well below a hundredth of it
constexpr double kRotatedBytes = double{1ull << 29};     // several times any L2 cache
constexpr int64_t kPattern = (int64_t{1} << 22) + 1088;  // elements; no multiple of a row's length

}  // namespace

Tensor Memory::random(const Shape& shape, DType dtype, double scale) {
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

Tensor Memory::indices(const Shape& shape, int64_t limit) { return upload(random_indices(shape, limit)); }

Tensor Memory::constant(const Shape& shape, float value) {
  Tensor host = HeapAllocator().allocate(shape, DType::fp32);
  std::fill_n(host.data<float>(), host.elements(), value);
  return upload(host);
}

Tensor Memory::upload(const Tensor& host) {
  Tensor tensor = allocator_.allocate(host.shape(), host.dtype());
  copy(stream_, host, tensor);
  stream_.synchronize();  // the host's memory may go now
  return tensor;
}

const Tensor& Memory::pattern(DType dtype, double scale) {
  Tensor& known = patterns_[{dtype, scale}];
  if (known.defined()) return known;
  const Tensor host = random_normal({kPattern});
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

Bench::Bench(const Stream& queue, Options options) : memory(queue), stream(queue), options_(std::move(options)) {
  if (options_.json.empty()) return;
  json_.reset(std::fopen(options_.json.c_str(), "w"));
  if (!json_) throw Error(ErrorCode::io, "bench_gpu_kernels", "cannot write " + options_.json);
}

void Bench::measure_ceilings(const char* when) {
  const double copies = copy_rate(), products = product_rate();
  fmt::print("ceilings {}: copy {:.0f} GB/s, 8192x8192x8192 bf16 {:.0f} TFLOP/s\n", when, copies / 1e9,
             products / 1e12);
  if (copy_rate_ != 0) return;
  copy_rate_ = copies;
  product_rate_ = products;
  fmt::print("{:<16}{:<26}{:<20}{:>10}{:>10} {:<9}{:>8}{:>9}\n", "family", "kernel", "shape", "µs", "rate", "",
             "spread", "ceiling");
}

void Bench::line(const Work& work, const std::function<Call()>& prepare) {
  if (!wants(work.label())) return;
  try {
    const Call run = prepare();
    print(work, time(run));
  } catch (const std::exception& error) {
    fmt::print("{:<16}{:<26}{:<20} FAILED: {}\n", work.family, work.name, work.shape, error.what());
    ++failures_;
  }
  std::fflush(stdout);
  ++lines_;
}

double Bench::seconds_of(const Call& run, int64_t calls) {
  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < calls; ++i) run(next_call_++);
  stream.synchronize();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Bench::Timing Bench::time(const Call& run) {
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

void Bench::print(const Work& work, const Timing& timing) {
  const bool moves = work.unit == Unit::bytes;
  const double rate = work.amount / timing.seconds, share = rate / (moves ? copy_rate_ : product_rate_);
  fmt::print("{:<16}{:<26}{:<20}{:>10.1f}{:>10.1f} {:<9}{:>7.1f}%{:>9.3f}\n", work.family, work.name, work.shape,
             timing.seconds * 1e6, rate / (moves ? 1e9 : 1e12), moves ? "GB/s" : "TFLOP/s", timing.spread * 100, share);
  if (!json_) return;
  fmt::print(json_.get(),
             R"({{"family":"{}","kernel":"{}","shape":"{}","us":{},"{}":{},"of_ceiling":{},"spread":{}}})"
             "\n",
             work.family, work.name, work.shape, timing.seconds * 1e6, moves ? "gb_s" : "tflop_s",
             rate / (moves ? 1e9 : 1e12), share, timing.spread);
  std::fflush(json_.get());
}

/// Bytes read and written in a second by copies of 2 GiB.
double Bench::copy_rate() {
  const Tensor from = memory.random({int64_t{1} << 30}), to = memory.random({int64_t{1} << 30});
  return 2.0 * static_cast<double>(from.bytes()) / sustained([&](int64_t) { copy(stream, from, to); });
}

/// Operations in a second.
double Bench::product_rate() {
  constexpr int64_t kSize = 8192;
  const Tensor x = memory.random({kSize, kSize}), w = memory.random({kSize, kSize}, DType::bf16, 0.02);
  Tensor y = memory.random({kSize, kSize});
  return 2.0 * product(kSize, kSize, kSize) / sustained([&](int64_t) { linear_forward(stream, x, w, {}, y); });
}

/// Seconds of one call after half a second of them, so that the clocks are those of a busy card.
double Bench::sustained(const Call& run) {
  constexpr double kBusySeconds = 0.5;
  for (double busy = 0; busy < kBusySeconds;) busy += seconds_of(run, 32);
  return time(run).seconds;
}

Rotation::Rotation(Bench& bench, std::initializer_list<Shape> shapes, DType dtype) {
  double bytes = 0;
  for (const Shape& shape : shapes)
    bytes += static_cast<double>(shape.elements()) * static_cast<double>(size_of(dtype));
  sets_.resize(std::clamp<size_t>(static_cast<size_t>(kRotatedBytes / bytes) + 1, 1, 32));
  for (std::vector<Tensor>& set : sets_)
    for (const Shape& shape : shapes) set.push_back(bench.memory.random(shape, dtype));
}

}  // namespace trident::bench
