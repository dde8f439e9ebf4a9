#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "bench/gpu/families.h"
#include "core/error.h"
#include "kernels/elementwise.h"
#include "kernels/optimizer.h"

namespace trident::bench {
namespace {

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

}  // namespace

void bench_elementwise(Bench& bench) {
  const Stream& stream = bench.stream;
  constexpr int64_t kCount = int64_t{1} << 26;
  const auto count = static_cast<double>(kCount);
  const std::string shape = fmt::format("{}", kCount);
  bench.line({"elementwise", "add bf16", shape, Unit::bytes, 6 * count}, [&]() -> Call {
    auto sets = rotate(bench, {{kCount}, {kCount}, {kCount}});
    return [=](int64_t i) { add(stream, sets->at(i, 0), sets->at(i, 1), sets->at(i, 2)); };
  });
  bench.line({"elementwise", "accumulate fp32", shape, Unit::bytes, 12 * count}, [&]() -> Call {
    auto sets = rotate(bench, {{kCount}, {kCount}}, DType::fp32);
    return [=](int64_t i) { accumulate(stream, sets->at(i, 0), sets->at(i, 1)); };
  });
  bench.line({"elementwise", "cast fp32 to bf16", shape, Unit::bytes, 6 * count}, [&]() -> Call {
    auto wide = rotate(bench, {{kCount}}, DType::fp32);
    auto narrow = rotate(bench, {{kCount}});
    return [=](int64_t i) { cast(stream, wide->at(i, 0), narrow->at(i, 0)); };
  });
}

void bench_optimizer(Bench& bench) {
  const Stream& stream = bench.stream;
  constexpr int64_t kCount = int64_t{1} << 28;
  const auto count = static_cast<double>(kCount);
  const std::string shape = fmt::format("{}", kCount);
  for (const bool many : {false, true}) {
    const std::vector<FlatRange> ranges = many ? model_ranges(kCount) : std::vector{FlatRange{0, kCount, true}};
    bench.line({"adamw", fmt::format("to bf16, {} ranges", ranges.size()), shape, Unit::bytes, 30 * count},
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
  bench.line({"sums of squares", "one range", shape, Unit::bytes, 4 * count}, [&]() -> Call {
    const Tensor grad = bench.memory.random({kCount}, DType::fp32);
    return [=](int64_t) {
      ExactSum sum;
      add_sums_of_squares(stream, grad, std::vector{FlatRange{0, kCount, true}}, sum);
      if (!(sum.value() > 0)) throw Error(ErrorCode::internal, "bench_gpu_kernels", "squares that sum to nothing");
    };
  });
}

}  // namespace trident::bench
