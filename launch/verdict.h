#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "launch/heartbeat_record.h"
#include "parallel/comm/device_mesh.h"

namespace trident {

enum class FaultCause {
  killed,                  ///< by a signal that no program error sends
  crash,                   ///< by a signal of its own making
  out_of_memory,           ///< killed by the kernel
  exit,                    ///< an end without a word, whatever the code
  error,                   ///< an error that the rank told
  stopped,                 ///< SIGSTOP
  hang,                    ///< the training thread stands still
  skipped_collective,      ///< others wait in a call that this rank has passed by
  mismatched_collectives,  ///< this rank made another call than the others
  left_early,              ///< ended well while others still train
  not_finite,              ///< loss or gradients are no numbers
  corrupted,               ///< its memory holds other bits than it should
  launcher_lost,           ///< mpirun died, or its daemon on a node
  node_lost,               ///< nothing is heard of a node any more
};
[[nodiscard]] std::string_view to_string(FaultCause cause);

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
};

struct GangState {
  MeshShape mesh;
  MeshOrder order = kDefaultMeshOrder;
  std::vector<RankState> ranks;  ///< by rank
  std::string launcher_end;      ///< how mpirun ended; empty: it runs
  bool launcher_killed = false;  ///< by a signal
};

/// Who sank a gang, and why: one sentence for the operator, and what the agent needs to go on.
struct Verdict {
  FaultCause cause = FaultCause::hang;
  int rank = -1;  ///< -1: no single one
  int64_t pid = 0;
  std::string host;
  std::string phase;  ///< what the rank was at
  int64_t step = 0;
  std::string what;      ///< "was killed by signal 9 (Killed)"
  std::string evidence;  ///< empty, or what it is concluded from
  std::string advice;    ///< the next command, or what to look at
  int exit_code = 0;     ///< of an error that a restart would only repeat; 0: restart
  double idle_s = 0;     ///< since the rank's last heartbeat

  [[nodiscard]] std::string sentence() const;
};

/// The members of a rank's group of this name, by their rank in the group; of a group that is no axis of the mesh, the
/// axis that it is part of.
[[nodiscard]] std::vector<int> group_members(const GangState& gang, int rank, std::string_view group);

/// The ranks that `rank` stands still for: those that have not entered the collective that it is in, or not sent or
/// asked for the message.
[[nodiscard]] std::vector<int> waits_for(const GangState& gang, int rank);

/// Nothing while all is well. Deaths come first; then ranks that stand still longer than their phase may. Who only
/// waits for others is never named while one of those can be.
[[nodiscard]] std::optional<Verdict> find_verdict(const GangState& gang);

}  // namespace trident
