#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "launch/gang_state.h"

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
/// Whether it may be due to the machine, so that another may not have it.
[[nodiscard]] bool may_be_the_machine(FaultCause cause);

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

/// Nothing while all is well. Deaths come first; then ranks that stand still longer than their phase may. Who only
/// waits for others is never named while one of those can be. Takes a time that grows with the ranks, not with their
/// pairs, and next to none as long as none is dead or late.
[[nodiscard]] std::optional<Verdict> find_verdict(const GangState& gang);

}  // namespace trident
