#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launch/child_process.h"
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
  std::filesystem::path words;           ///< the file to which is added what mpirun itself says
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
  [[nodiscard]] std::optional<int> status() { return process_->status(); }
  /// Waits for it for at most so long.
  void wait(int milliseconds) const;
  /// Readable once it has ended; -1 afterwards.
  [[nodiscard]] int descriptor() const { return process_->descriptor(); }
  void kill() { process_->kill(); }
  /// What it has said itself since this was asked last: not what it passed on of the ranks.
  [[nodiscard]] std::string words();

 private:
  std::filesystem::path words_path_;
  UniqueDescriptor words_;
  off_t said_ = 0;
  std::optional<ChildProcess> process_;
};

}  // namespace trident
