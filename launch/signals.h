#pragma once

#include <atomic>
#include <csignal>
#include <thread>

namespace trident {

/// While it lives, SIGTERM, SIGUSR1, SIGUSR2 and the first SIGINT ask for a stop at the end of the step; a second
/// SIGINT ends the process at once. To be made before any thread that computes: a thread of its own waits for the
/// signals, and every thread started later keeps them blocked, so that none is ever interrupted by a handler. Kernels
/// that oneDNN generates use the stack pointer for data, and a handler's frame there overwrites memory.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  [[nodiscard]] const std::atomic<bool>& requested() const { return requested_; }

 private:
  void wait();

  sigset_t signals_{};
  sigset_t mask_before_{};
  std::atomic<bool> requested_{false};
  std::atomic<bool> ending_{false};
  std::thread waiter_;
};

}  // namespace trident
