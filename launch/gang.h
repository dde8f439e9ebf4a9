#pragma once

#include <poll.h>
#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/guardian.h"
#include "launch/heartbeat.h"
#include "launch/job_place.h"
#include "launch/unique_descriptor.h"

namespace trident {

struct GangOptions {
  int64_t epoch = 1;
  int ranks = 1;
  std::vector<std::string> mpirun;       ///< further words for mpirun
  std::vector<std::string> command;      ///< what every rank runs
  std::vector<std::string> environment;  ///< further NAME=value
};

/// One rank's process, as its guardian tells of it.
struct Worker {
  int64_t pid = 0;  ///< 0: not started yet
  bool ended = false;
  int wait_status = 0;
  int end_order = 0;
  bool lost = false;          ///< its guardian is gone without a word, and so is it
  UniqueDescriptor process;   ///< names the process even after its number is given to another
  UniqueDescriptor guardian;  ///< socket
};

/// The ranks of one epoch on this node: started by mpirun, killed without it.
class Gang {
 public:
  /// Starts mpirun. Throws Error where it cannot.
  Gang(GangOptions options, JobPlace place);
  /// Kills what still runs, and removes what the gang left on this node.
  ~Gang();
  Gang(const Gang&) = delete;
  Gang& operator=(const Gang&) = delete;

  [[nodiscard]] const std::vector<Worker>& workers() const { return workers_; }
  [[nodiscard]] const HeartbeatMemory& heartbeats() const { return heartbeats_; }
  [[nodiscard]] bool all_started() const { return started_ == std::ssize(workers_); }
  [[nodiscard]] bool any_started() const { return started_ > 0; }
  [[nodiscard]] bool all_ended() const { return ended_ == std::ssize(workers_); }
  /// How mpirun ended, as waitpid() tells it.
  [[nodiscard]] std::optional<int> launcher_status() const { return launcher_status_; }

  /// Waits for news of the gang for at most so long, and takes them in; also for `other` descriptor to become readable.
  void wait(int milliseconds, int other);
  /// Passes a signal to every worker.
  void signal(int number) const;
  /// SIGKILL to every worker, straight; returns once all are gone. Throws Error(internal) where one is not within 10 s:
  /// then nothing may be started in its place.
  void kill();

 private:
  [[nodiscard]] std::vector<std::string> arguments() const;
  [[nodiscard]] std::vector<std::string> environment() const;
  void start_launcher();
  void accept_guardians();
  void hear(UniqueDescriptor& guardian);
  void take(const GuardianMessage& message, UniqueDescriptor& guardian);
  void reap_launcher(int flags);
  void kill_launcher();
  void lose(Worker& worker);
  [[nodiscard]] bool gone(const Worker& worker) const;

  GangOptions options_;
  JobPlace place_;
  HeartbeatMemory heartbeats_;
  UniqueDescriptor listener_;
  std::vector<Worker> workers_;             // by rank
  std::vector<UniqueDescriptor> nameless_;  // guardians that have not said whose they are
  pid_t launcher_ = -1;
  UniqueDescriptor launcher_process_;
  std::optional<int> launcher_status_;
  int64_t started_ = 0;
  int64_t ended_ = 0;
};

}  // namespace trident
