#pragma once

#include <chrono>
#include <thread>

namespace trident {

/// Waiting for other ranks: spins for some microseconds, then gives the processor away, then sleeps, until a deadline.
/// Ranks may outnumber processors, so spinning ends early.
class Backoff {
 public:
  explicit Backoff(std::chrono::milliseconds timeout) : timeout_(timeout) {}

  /// Waits a little; false once the time is up.
  bool pause() {
    ++pauses_;
    if (pauses_ < kSpins) {
#if defined(__x86_64__)
      __builtin_ia32_pause();
#endif
      return true;
    }
    const auto now = std::chrono::steady_clock::now();
    if (pauses_ == kSpins) start_ = now;
    const auto waited = now - start_;
    if (waited < kYielding) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kSleep);
    }
    return waited < timeout_;
  }

 private:
  static constexpr int kSpins = 200;
  static constexpr std::chrono::milliseconds kYielding{20};
  static constexpr std::chrono::microseconds kSleep{50};

  std::chrono::milliseconds timeout_;
  std::chrono::steady_clock::time_point start_;
  int pauses_ = 0;
};

}  // namespace trident
