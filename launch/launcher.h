#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/job_place.h"
#include "launch/unique_descriptor.h"

namespace trident {

struct LauncherOptions {
  int64_t epoch = 1;
  int ranks = 1;
  /// Where they run, in order: host and ranks. Empty: on this machine.
  std::vector<std::pair<std::string, int>> hosts;
  std::string remote_shell;              ///< how to reach them; empty: as Open MPI would
  std::vector<std::string> mpirun;       ///< further words for mpirun
  std::vector<std::string> command;      ///< what every rank runs
  std::vector<std::string> environment;  ///< further NAME=value, for all ranks
};

/// mpirun, started for one epoch. Dies with this process.
class Launcher {
 public:
  /// Throws Error where it cannot be started.
  Launcher(const LauncherOptions& options, const JobPlace& place);
  /// Lets it pass on what the ranks said last, and kills it.
  ~Launcher();
  Launcher(const Launcher&) = delete;
  Launcher& operator=(const Launcher&) = delete;

  /// How it ended, as waitpid() tells it.
  [[nodiscard]] std::optional<int> status();
  /// Waits for it for at most so long.
  void wait(int milliseconds) const;
  /// Readable once it has ended; -1 afterwards.
  [[nodiscard]] int descriptor() const { return status_ ? -1 : process_.get(); }
  void kill();

 private:
  void reap(int flags);

  pid_t pid_ = -1;
  UniqueDescriptor process_;
  std::optional<int> status_;
};

}  // namespace trident
