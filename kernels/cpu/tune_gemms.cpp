#include <time.h>  // NOLINT(modernize-deprecated-headers): clock_gettime is POSIX

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>
#include <vector>

#include "core/log.h"
#include "kernels/cpu/blas.h"
#include "kernels/cpu/gemm.h"
#include "kernels/gemm_tuning.h"

namespace trident {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kMargin = 1.03;      // another library must beat OpenBLAS by this factor
constexpr double kKeySeconds = 6e-3;  // what one key may take
constexpr int64_t kDeepest = 2048;    // libraries cut k themselves: deeper products take longer, no other turn
constexpr int kRounds = 20;
constexpr int kFewestRounds = 2;

/// Processor time of this thread: other programs on the machine do not count.
double thread_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// The operands of one product, with values that are neither zero nor subnormal, and with the product's own strides:
/// rows that lie a power of two apart share few places of a cache, and libraries differ in what they make of that.
/// Memory is shared between products.
class TrialOperands {
 public:
  cpu::GemmCall<float> call(const GemmKey& key, const GemmStrides& strides) {
    const int64_t k = std::min(key.k, kDeepest);
    const int64_t a_stride = std::max(strides.a, key.form == GemmForm::tn ? key.m : k);
    const int64_t b_stride = std::max(strides.b, key.form == GemmForm::nt ? k : key.n);
    const int64_t c_stride = std::max(strides.c, key.n);
    grow(a_, a_stride * (key.form == GemmForm::tn ? k : key.m), 1.0f);
    grow(b_, b_stride * (key.form == GemmForm::nt ? key.n : k), 1.0f);
    grow(c_, c_stride * key.m, 0.0f);
    return {key.form, key.m, key.n, k, a_.data(), a_stride, b_.data(), b_stride, c_.data(), c_stride};
  }

 private:
  static void grow(std::vector<float>& memory, int64_t elements, float value) {
    if (static_cast<int64_t>(memory.size()) < elements) memory.resize(static_cast<size_t>(elements), value);
  }
  std::vector<float> a_, b_, c_;
};

/// Fastest call of each library, in turns so that a slow moment of the machine meets all of them.
std::vector<double> best_times(const cpu::GemmCall<float>& call) {
  const auto& libraries = cpu::blas_libraries();
  std::vector<double> best(libraries.size(), std::numeric_limits<double>::infinity());
  for (const auto& library : libraries) library.gemm(call);  // fills caches, generates code
  const double start = thread_seconds();
  for (int round = 0; round < kRounds; ++round) {
    if (round >= kFewestRounds && thread_seconds() - start > kKeySeconds) break;
    for (size_t i = 0; i < libraries.size(); ++i) {
      const double before = thread_seconds();
      libraries[i].gemm(call);
      best[i] = std::min(best[i], thread_seconds() - before);
    }
  }
  return best;
}

const std::string& fastest(const std::vector<double>& times) {
  const auto& libraries = cpu::blas_libraries();
  const auto best = static_cast<size_t>(std::min_element(times.begin(), times.end()) - times.begin());
  return libraries[times.front() > kMargin * times[best] ? best : 0].name;
}

/// What /proc/cpuinfo says about the first processor, without what changes between two looks.
std::string processor_model() {
  std::ifstream file("/proc/cpuinfo");
  std::string model;
  for (std::string line; std::getline(file, line) && !line.empty();) {
    for (const char* field : {"vendor_id", "cpu family", "model", "stepping", "cache size", "flags"}) {
      if (line.starts_with(field)) model += line + '\n';
    }
  }
  return model;
}

}  // namespace

GemmState::GemmState(GemmChoices choices) : choices_(std::move(choices)) {
  std::set<std::string> missing;
  for (const auto& [key, name] : choices_.table()) {
    if (key.device != DeviceKind::cpu) continue;
    const auto* library = cpu::find_blas_library(name);
    if (library == nullptr) missing.insert(name);
    if (library != nullptr) libraries_.emplace(key, library);
  }
  for (const auto& name : missing) {
    log::warning(
        "this machine lacks the matrix library {} that was chosen before; OpenBLAS stands in, with other "
        "rounding",
        name);
  }
}

std::vector<std::string> gemm_library_names() {
  std::vector<std::string> names;
  for (const cpu::BlasLibrary& library : cpu::blas_libraries()) names.push_back(library.name + " " + library.version);
  return names;
}

GemmChoices tune_gemms(const GemmProducts& products, const GemmChoices& known, std::chrono::milliseconds budget) {
  const auto deadline = Clock::now() + budget;
  TrialOperands operands;
  GemmChoices choices;
  for (const auto& [key, strides] : products) {
    if (const std::string* library = known.find(key)) {
      choices.set(key, *library);
    } else if (key.dtype == DType::fp64 || Clock::now() >= deadline) {
      choices.set(key, cpu::blas_libraries().front().name);
    } else {
      choices.set(key, fastest(best_times(operands.call(key, strides))));
    }
  }
  return choices;
}

std::string cpu::gemm_identity() {
  std::string identity = "timed with the products' strides\n" + processor_model();  // other trials, other file
  for (const auto& library : cpu::blas_libraries()) identity += library.name + ' ' + library.version + '\n';
  return identity;
}

}  // namespace trident
