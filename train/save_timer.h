#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace trident {

/// When checkpoints are due: every so many steps, every so much time, or whichever comes first.
class SaveTimer {
 public:
  /// 0 steps: not by steps.
  SaveTimer(int64_t steps, std::optional<double> seconds) : steps_(steps), seconds_(seconds) {}

  [[nodiscard]] bool due_by_step(int64_t step) const { return steps_ > 0 && step % steps_ == 0; }
  /// Of the clock of one rank: ranks must agree.
  [[nodiscard]] bool due_by_time() const {
    return seconds_ && std::chrono::duration<double>(Clock::now() - last_).count() >= *seconds_;
  }
  void saved() { last_ = Clock::now(); }

 private:
  using Clock = std::chrono::steady_clock;
  int64_t steps_;
  std::optional<double> seconds_;
  Clock::time_point last_ = Clock::now();
};

}  // namespace trident
