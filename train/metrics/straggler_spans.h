#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "train/metrics/events_file.h"

namespace trident {

/// A rank that worked longer at its steps than the median of its peers, from one step to another.
struct StragglerSpan {
  int rank = 0;
  std::string host{};
  int attempt = 1;
  std::int64_t first_step = 0;
  std::optional<std::int64_t> last_step{};  ///< empty: it did so to the end of the attempt, or does so now
  double ratio = 0;                         ///< to the median of its peers when it was named; 0: not recorded
  double busy_seconds = 0;                  ///< of a step, then
};

/// In the order in which they were named. A new attempt ends those of the one before.
std::vector<StragglerSpan> find_stragglers(std::span<const EventRecord> events);

}  // namespace trident
