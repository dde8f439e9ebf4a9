// The fp32 peak of fused multiply-adds on a number of threads, as one line of JSON.
//
//   fma_peak [THREADS [ROUNDS]]
//
// "gflops" is the fastest round by wall time, "gflops_cpu" by each thread's own processor time, which other programs
// disturb less; "flops_per_cycle" needs the processor's clock and is left to the reader.
#include <fmt/format.h>
#include <time.h>  // NOLINT(modernize-deprecated-headers): clock_gettime is POSIX

#include <algorithm>
#include <barrier>
#include <cstdlib>
#include <thread>
#include <vector>

#include "bench/fma_loop.h"

namespace trident::bench {
namespace {

double seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

constexpr int kRepeats = 100;  // so that a round lasts much longer than it takes to wake the threads

/// What one thread saw in a round.
struct Sample {
  double wall_begin = 0, wall_end = 0, cpu = 0, flops = 0;
};

Sample run_once() {
  Sample sample;
  const double cpu = seconds(CLOCK_THREAD_CPUTIME_ID);
  sample.wall_begin = seconds(CLOCK_MONOTONIC);
  sample.flops = 0;
  for (int repeat = 0; repeat < kRepeats; ++repeat) sample.flops += fma_flops();
  sample.wall_end = seconds(CLOCK_MONOTONIC);
  sample.cpu = seconds(CLOCK_THREAD_CPUTIME_ID) - cpu;
  return sample;
}

struct Peak {
  double wall = 0, cpu = 0;  ///< GFLOP/s
};

Peak peak_of(const std::vector<Sample>& samples) {
  double begin = samples.front().wall_begin, end = samples.front().wall_end, flops = 0, cpu_rate = 0;
  for (const Sample& sample : samples) {
    begin = std::min(begin, sample.wall_begin);
    end = std::max(end, sample.wall_end);
    flops += sample.flops;
    cpu_rate += sample.flops / sample.cpu;
  }
  return {1e-9 * flops / (end - begin), 1e-9 * cpu_rate};
}

Peak measure(int threads, int rounds) {
  std::vector<Sample> samples(static_cast<size_t>(threads));
  Peak best;
  std::barrier together(threads, [&]() noexcept {
    if (samples.front().flops == 0) return;
    const Peak peak = peak_of(samples);
    best = {std::max(best.wall, peak.wall), std::max(best.cpu, peak.cpu)};
  });
  std::vector<std::jthread> workers;
  workers.reserve(static_cast<size_t>(threads));
  for (int thread = 0; thread < threads; ++thread) {
    workers.emplace_back([&, thread] {
      for (int round = 0; round <= rounds; ++round) {
        together.arrive_and_wait();
        samples[static_cast<size_t>(thread)] = run_once();
      }
      together.arrive_and_wait();
    });
  }
  workers.clear();
  return best;
}

int number(int count, char** arguments, int index, int fallback) {
  return count > index ? std::clamp(std::atoi(arguments[index]), 1, 1000) : fallback;
}

}  // namespace
}  // namespace trident::bench

int main(int count, char** arguments) {
  using namespace trident::bench;
  const int threads = number(count, arguments, 1, 1);
  const Peak peak = measure(threads, number(count, arguments, 2, 9));
  fmt::print("{{\"threads\":{},\"vectors\":\"{}\",\"gflops\":{:.1f},\"gflops_cpu\":{:.1f}}}\n", threads, fma_vectors(),
             peak.wall, peak.cpu);
  return 0;
}
