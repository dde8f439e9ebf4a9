#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "launch/wire/link.h"

namespace trident {

/// Makes one sentence of the connections that a listener refuses, however many come at once: those whose bytes were
/// none of this job's.
class RefusalWatch {
 public:
  using Clock = std::chrono::steady_clock;

  /// What came, once nothing more has come for a moment; nothing otherwise. `counters` only grow.
  [[nodiscard]] std::optional<std::string> look(const WireCounters& counters, Clock::time_point now = Clock::now());

 private:
  WireCounters told_;
  WireCounters seen_;
  Clock::time_point first_;  // that was not told yet
  Clock::time_point last_;
};

}  // namespace trident
