#pragma once

#include <atomic>
#include <cstdint>

#include "bench/coordinator/simulated_gang.h"
#include "launch/wire/secret.h"

namespace trident {

/// What the agents see of a run; in memory that they share with the coordinator's process. Times by the steady clock.
struct SimulationLog {
  std::atomic<bool> steady{false};  ///< all train, and nothing has happened yet
  std::atomic<int64_t> injected_ns{0};
  std::atomic<int64_t> first_fence_ns{0};
  std::atomic<int64_t> last_fence_ns{0};
  std::atomic<int64_t> reports{0};         ///< while steady
  std::atomic<int64_t> report_bytes{0};    ///< of those, as frames
  std::atomic<int64_t> longest_lag_ns{0};  ///< that a report was sent after it was due, while steady
};

/// Seconds that ranks train: until all is steady, and then until the fault comes, or, where there is none, the end.
struct SimulatedTimes {
  double settle = 2;
  double steady = 1;
};

/// The agents of all nodes in one thread: each over a connection of its own, with a report for every lease and four
/// times a second. Returns once the coordinator has said goodbye to all.
void simulate_nodes(const SimulatedGang& gang, const SimulatedTimes& times, uint16_t port, const JobSecret& secret,
                    SimulationLog& log);

}  // namespace trident
