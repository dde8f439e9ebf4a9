#pragma once

namespace trident {

class Heartbeat;

/// While it lives, a signal of a program error marks the heartbeat, prints the stack on stderr and ends the process as
/// it would have. One in a process; made before MPI starts, which leaves handlers that are there alone.
class CrashHandler {
 public:
  explicit CrashHandler(Heartbeat& heartbeat);
  ~CrashHandler();
  CrashHandler(const CrashHandler&) = delete;
  CrashHandler& operator=(const CrashHandler&) = delete;
};

}  // namespace trident
