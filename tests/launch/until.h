#pragma once

#include <chrono>
#include <functional>
#include <thread>

namespace trident {

/// For as long a test may hang.
inline constexpr std::chrono::seconds kWatchdog{20};

/// Waits for it.
inline bool until(const std::function<bool()>& done) {
  using Clock = std::chrono::steady_clock;
  for (const auto end = Clock::now() + kWatchdog; Clock::now() < end;) {
    if (done()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

}  // namespace trident
