#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/gang_state.h"
#include "launch/status/heat_map.h"
#include "parallel/comm/device_mesh.h"

namespace trident {

struct RankStatus {
  int rank = 0;
  MeshCoordinates at;
  std::string host;
  int64_t pid = 0;
  std::string_view state;       ///< starting, running, stopped, ended; literals
  std::string_view phase;       ///< of what it is at
  int64_t step = 0;             ///< that it is at
  int64_t done = -1;            ///< last step done
  double idle_s = 0;            ///< since its last heartbeat
  double limit_s = 0;           ///< how long its phase may go without
  double busy_s = 0;            ///< work at its last step, without waiting for others
  std::optional<double> ratio;  ///< of that to the median of its peers
};

/// A gang at one moment.
struct GangStatus {
  double time = 0;  ///< seconds since 1970
  int64_t epoch = 0;
  MeshShape mesh;
  std::vector<RankStatus> ranks;
  HeatMap heat;
};

/// Where the supervisor leaves what it sees, and whoever shows it takes it up. The supervisor waits for nobody but
/// for the exchange of a pointer.
class RankBoard {
 public:
  /// Called by one thread.
  void publish(const GangState& gang, int64_t epoch);
  /// Null before the first gang.
  [[nodiscard]] std::shared_ptr<const GangStatus> latest() const;

 private:
  HeatMap heat_;
  int64_t epoch_ = 0;
  mutable std::mutex mutex_;
  std::shared_ptr<const GangStatus> latest_;
};

}  // namespace trident
