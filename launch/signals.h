#pragma once

#include <atomic>

namespace trident {

/// While it lives, SIGTERM, SIGUSR1, SIGUSR2 and the first SIGINT ask for a stop at the end of the step; a second
/// SIGINT ends the process at once. One at a time.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  [[nodiscard]] const std::atomic<bool>& requested() const;
};

}  // namespace trident
