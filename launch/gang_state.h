#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "launch/heartbeat_record.h"
#include "parallel/comm/device_mesh.h"

namespace trident {

/// One rank as its agent sees it.
struct RankState {
  int rank = 0;
  int64_t pid = 0;  ///< 0: not started yet
  std::string host;
  RankRecord record;
  bool ended = false;
  int wait_status = 0;       ///< where ended, as waitpid() tells it
  int end_order = 0;         ///< where ended: the how-manieth
  bool lost = false;         ///< with its guardian, as when the launcher dies
  bool daemon_gone = false;  ///< so is what mpirun had started it with on its node
  bool stopped = false;
  bool kernel_killed = false;  ///< the cgroup on its node counts a kill for want of memory
  double idle_s = 0;           ///< since the last heartbeat
  double limit_s = 0;          ///< how long its phase may go without

  /// Or has not ended, but is done.
  [[nodiscard]] bool ended_well() const;
  /// Exit code of the error that it told of, or that it ended with after it was done; 0: none.
  [[nodiscard]] int error() const;
};

struct GangState {
  MeshShape mesh;
  MeshOrder order = kDefaultMeshOrder;
  std::vector<RankState> ranks;  ///< by rank
  std::string launcher_end;      ///< how mpirun ended; empty: it runs
  bool launcher_killed = false;  ///< by a signal
};

}  // namespace trident
