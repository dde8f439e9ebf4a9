#include "kernels/cuda/tune_gemms.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <limits>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "core/memory.h"
#include "kernels/cuda/algorithm_text.h"
#include "kernels/cuda/fill_random.h"
#include "kernels/cuda/gemm.h"
#include "kernels/cuda/quantize.h"
#include "kernels/cuda/runtime.h"

namespace trident::cuda {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kProposals = 8;
constexpr double kMargin = 1.01;    // another must beat cuBLASLt's first proposal by this factor
constexpr double kHopeless = 1.25;  // slower than the best by this factor: timed no more
constexpr auto kProductTime = std::chrono::milliseconds(60);
constexpr int kFewestRounds = 2;
constexpr int kMostRounds = 10;
constexpr double kSampleSeconds = 2e-4;  // short products repeat until they fill it
constexpr double kMostRepeats = 16;
constexpr size_t kColdBytes = size_t{128} << 20;  // more than twice what the cache of an H100 holds

void check_timing(cudaError_t result) { check(result, "timing matrix products"); }

class Events {
 public:
  explicit Events(size_t count) : events_(count, nullptr) {
    for (cudaEvent_t& event : events_) check_timing(cudaEventCreate(&event));
  }
  ~Events() {
    for (cudaEvent_t event : events_) {
      if (event != nullptr) cudaEventDestroy(event);
    }
  }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;

  void record(size_t index, const Stream& stream) { check_timing(cudaEventRecord(events_[index], queue_of(stream))); }
  /// Waits for the later one.
  [[nodiscard]] double seconds(size_t from, size_t to) const {
    float milliseconds = 0;
    check_timing(cudaEventSynchronize(events_[to]));
    check_timing(cudaEventElapsedTime(&milliseconds, events_[from], events_[to]));
    return 1e-3 * static_cast<double>(milliseconds);
  }

 private:
  std::vector<cudaEvent_t> events_;
};

struct Bytes {
  size_t a, b, c;
};

size_t bytes_of(int64_t rows, int64_t columns, size_t element) {
  constexpr size_t kLine = 256;  // as allocations are aligned
  const size_t bytes = static_cast<size_t>(rows) * static_cast<size_t>(columns) * element;
  return (bytes + kLine - 1) / kLine * kLine;
}

Bytes bytes_of(const GemmKey& key) {
  const DType result = key.form == GemmForm::tn ? accumulation_dtype(key.dtype) : key.dtype;
  return {bytes_of(key.m, key.k, key.operand_size()), bytes_of(key.k, key.n, key.operand_size()),
          bytes_of(key.m, key.n, size_of(result))};
}

/// Memory for all products. Every call gets another part of it, so that no operand is still in the GPU's cache.
class TrialMemory {
 public:
  TrialMemory(const Stream& stream, const std::vector<GemmKey>& keys) : stream_(stream) {
    size_t inputs = kColdBytes, outputs = kColdBytes;
    for (const GemmKey& key : keys) {
      const Bytes bytes = bytes_of(key);
      inputs = std::max(inputs, bytes.a + bytes.b);
      outputs = std::max(outputs, bytes.c);
    }
    inputs_ = allocate_memory(stream.device(), inputs);
    outputs_ = allocate_memory(stream.device(), outputs);
    scale_ = allocate_memory(stream.device(), sizeof(Fp8Scale));
  }

  /// For `key` and those that differ from it in sizes alone.
  void fill(const GemmKey& key) {
    if (key.fp8)
      fill_fp8(key.dtype);
    else
      fill_random(stream_, inputs_->data(), inputs_->bytes(), key.dtype);
    check_timing(cudaMemsetAsync(outputs_->data(), 0, outputs_->bytes(), queue_of(stream_)));
  }

  [[nodiscard]] GemmOperands next(const GemmKey& key) {
    const Bytes bytes = bytes_of(key);
    auto* input = static_cast<std::byte*>(inputs_->data()) +
                  calls_ % (inputs_->bytes() / (bytes.a + bytes.b)) * (bytes.a + bytes.b);
    auto* output = static_cast<std::byte*>(outputs_->data()) + calls_ % (outputs_->bytes() / bytes.c) * bytes.c;
    ++calls_;
    const float* scale = key.fp8 ? &static_cast<const Fp8Scale*>(scale_->data())->inverse : nullptr;
    return {input, input + bytes.a, output, key.bias ? input : nullptr, scale, scale};
  }

 private:
  // In e5m2, by way of the outputs' memory. Read as e4m3 they are finite too.
  void fill_fp8(DType dtype) {
    constexpr int64_t kColumns = 16;  // and as many rows: all sizes are whole lines
    fill_random(stream_, outputs_->data(), outputs_->bytes(), dtype);
    const size_t most = outputs_->bytes() / size_of(dtype);
    for (size_t begin = 0; begin < inputs_->bytes(); begin += most) {
      const auto count = static_cast<int64_t>(std::min(most, inputs_->bytes() - begin));
      quantize(stream_, Tensor(outputs_, 0, {count / kColumns, kColumns}, dtype), Fp8Format::e5m2, Orientation::as_is,
               static_cast<std::byte*>(inputs_->data()) + begin, static_cast<Fp8Scale*>(scale_->data()));
    }
  }

  Stream stream_;
  std::shared_ptr<Buffer> inputs_, outputs_, scale_;
  size_t calls_ = 0;
};

/// The proposals for one product on trial.
class Trial {
 public:
  Trial(const Stream& stream, TrialMemory& memory, const GemmKey& key)
      : stream_(stream), state_(state_of(stream)), memory_(memory), key_(key), problem_(key, GemmAlignment::of(key)) {}

  [[nodiscard]] std::string text(const cublasLtMatmulAlgo_t& algorithm) const {
    return algorithm_text(cublasLtGetVersion(), std::bit_cast<AlgorithmWords>(algorithm));
  }

  /// Empty if there is none.
  [[nodiscard]] std::string first() {
    const auto proposals = problem_.proposals(state_.blas(), 1);
    return proposals.empty() ? std::string() : text(proposals.front());
  }

  [[nodiscard]] std::string fastest() {
    proposals_ = problem_.proposals(state_.blas(), kProposals);
    if (proposals_.empty()) return {};
    time_all();
    const auto best = static_cast<size_t>(std::min_element(seconds_.begin(), seconds_.end()) - seconds_.begin());
    return text(proposals_[seconds_.front() > kMargin * seconds_[best] ? best : 0]);
  }

 private:
  /// False if it does not run after all.
  bool call(size_t which) {
    const bool accumulate = key_.form == GemmForm::tn;
    if (problem_.run(stream_, state_, proposals_[which], memory_.next(key_), accumulate) == CUBLAS_STATUS_SUCCESS)
      return true;
    static_cast<void>(cudaGetLastError());  // or the next launch would report it
    return false;
  }

  // In turns, so that all meet the same clock. The GPU is kept busy meanwhile, because a launch into an idle one takes
  // longer than short products.
  void time_round(int repeats) {
    Events events(proposals_.size() + 1);
    call(running_.front());
    events.record(0, stream_);
    for (const size_t i : running_) {
      for (int k = 0; k < repeats; ++k) call(i);
      events.record(i + 1, stream_);
    }
    size_t before = 0;
    for (const size_t i : running_) {
      seconds_[i] = std::min(seconds_[i], events.seconds(before, i + 1) / repeats);
      before = i + 1;
    }
  }

  void drop_hopeless() {
    const double best = *std::min_element(seconds_.begin(), seconds_.end());
    std::erase_if(running_, [&](size_t i) { return seconds_[i] > kHopeless * best; });
  }

  void time_all() {
    seconds_.assign(proposals_.size(), std::numeric_limits<double>::infinity());
    for (size_t i = 0; i < proposals_.size(); ++i) {
      if (call(i)) running_.push_back(i);  // loads its code
    }
    if (running_.empty()) return;
    const auto start = Clock::now();
    time_round(1);
    const double shortest = *std::min_element(seconds_.begin(), seconds_.end());
    const auto repeats = static_cast<int>(std::clamp(std::ceil(kSampleSeconds / shortest), 1.0, kMostRepeats));
    if (repeats == 1) drop_hopeless();
    for (int round = 1; round < kFewestRounds || (round < kMostRounds && Clock::now() - start < kProductTime);
         ++round) {
      time_round(repeats);
      drop_hopeless();
    }
  }

  const Stream& stream_;
  CudaState& state_;
  TrialMemory& memory_;
  GemmKey key_;
  GemmProblem problem_;
  std::vector<cublasLtMatmulAlgo_t> proposals_;
  std::vector<size_t> running_;
  std::vector<double> seconds_;
};

bool filled_alike(const GemmKey& one, const GemmKey& other) { return one.dtype == other.dtype && one.fp8 == other.fp8; }

/// Those that nothing is known about, those of equal operands together, the largest first.
std::vector<GemmKey> in_order(const GemmProducts& products, const GemmChoices& known) {
  std::vector<GemmKey> keys;
  for (const auto& [key, strides] : products) {
    if (known.find(key) == nullptr) keys.push_back(key);
  }
  const auto rank = [](const GemmKey& key) {
    const double size = static_cast<double>(key.m) * static_cast<double>(key.n) * static_cast<double>(key.k);
    return std::tuple(key.dtype, key.fp8, size);
  };
  std::stable_sort(keys.begin(), keys.end(),
                   [&](const GemmKey& one, const GemmKey& other) { return rank(one) > rank(other); });
  return keys;
}

}  // namespace

void follow_gemm_choices(const Stream& stream, const GemmChoices& choices) { plans_of(stream).follow(choices); }

GemmChoices tune_gemms(const Stream& stream, const GemmProducts& products, const GemmChoices& known,
                       std::chrono::milliseconds budget) {
  const auto deadline = Clock::now() + budget;
  GemmChoices choices;
  for (const auto& [key, strides] : products) {
    if (const std::string* algorithm = known.find(key)) choices.set(key, *algorithm);
  }
  const std::vector<GemmKey> keys = in_order(products, known);
  if (keys.empty()) return choices;
  TrialMemory memory(stream, keys);
  for (size_t i = 0; i < keys.size(); ++i) {
    if (i == 0 || !filled_alike(keys[i], keys[i - 1])) memory.fill(keys[i]);
    Trial trial(stream, memory, keys[i]);
    const std::string algorithm = Clock::now() < deadline ? trial.fastest() : trial.first();
    if (!algorithm.empty()) choices.set(keys[i], algorithm);
  }
  stream.synchronize();
  return choices;
}

std::string gemm_identity(Device device) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device.index), "asking for the GPU's name");
  return std::string(properties.name) + "\ncuBLASLt " + std::to_string(cublasLtGetVersion()) + '\n';
}

}  // namespace trident::cuda
