#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "launch/chaos_log.h"
#include "launch/copy_rounds.h"
#include "launch/epoch_log.h"
#include "launch/fault.h"
#include "launch/gang.h"
#include "launch/node_faults.h"
#include "launch/nodes.h"
#include "launch/progress_limits.h"
#include "launch/refusal_watch.h"
#include "launch/straggler.h"
#include "launch/unique_descriptor.h"
#include "launch/verdict.h"
#include "parallel/comm/device_mesh.h"
#include "train/config/job_config.h"
#include "train/metrics/append_file.h"
#include "train/metrics/events_file.h"
#include "train/metrics/run_directory.h"

namespace trident {

struct CoordinatorOptions {
  JobConfig job;                      ///< mesh decided
  std::vector<std::string> train;     ///< the command that every rank runs, but for the mesh
  std::vector<std::string> mpirun;    ///< further words for mpirun
  bool slots_given = false;           ///< hosts say how many ranks they take, whatever their processors
  std::string remote_shell;           ///< for mpirun's daemons on other nodes
  std::vector<InjectedFault> faults;  ///< to inject
  /// The mesh to go on with on so many ranks' places.
  std::function<std::optional<MeshShape>(int64_t places)> remaining;
  /// Told what is seen of a gang, at every look. Must be quick, and not throw; may be empty.
  std::function<void(const GangState&, int64_t epoch)> publish{};
  int64_t least_epoch = 1;  ///< to begin
  /// The node whose coordinator this one replaces.
  std::optional<LostNodes> replaced{};
  NodeFaults* node_faults = nullptr;  ///< for tests: what is to happen to this node
};

/// Runs a job to its end, through as many gangs as it takes: starts one, watches it, and where it fails says who and
/// why, ends all of it and starts the next from the newest state. One coordinator a run.
class Coordinator {
 public:
  /// Throws Error.
  Coordinator(CoordinatorOptions options, RunDirectory run, Nodes& nodes);

  /// The program's exit code.
  int run();
  /// What became of the faults that were injected.
  [[nodiscard]] ChaosLog& chaos() { return chaos_; }

 private:
  using Clock = std::chrono::steady_clock;

  /// How a gang ended.
  struct End {
    int exit_code = 0;
    std::optional<Verdict> verdict{};  ///< where it did not end by itself
    Clock::time_point seen;
    int64_t committed = -1;
  };
  /// From a fault to the first new step.
  struct Recovery {
    Clock::time_point seen;
    double fence_s = 0;
  };

  void watch_signals();
  void take_over(const LostNodes& replaced);
  [[nodiscard]] End run_gang();
  [[nodiscard]] End supervise(Gang& gang);
  void inject(const Gang& gang);
  void learn(const GangState& state);
  void tell_recovery(const GangState& state);
  void take_signals(const Gang& gang);
  [[nodiscard]] std::optional<int> ended_well(const Gang& gang) const;
  /// An exit code where there is nothing to go on with.
  [[nodiscard]] std::optional<int> give_up(const End& end);
  [[nodiscard]] std::optional<int> no_more_starts(const Verdict& verdict);
  [[nodiscard]] bool set_aside(const Verdict& verdict, bool fruitful);
  void change_layout(const MeshShape& mesh);
  void lose_place(const Verdict& verdict);
  void grow_if_due(const Gang& gang, const GangState& state);
  [[nodiscard]] int places_left() const { return nodes_.places() - lost_places_; }
  [[nodiscard]] bool places_return(const GangState& state);
  void tell_stragglers(const GangState& state);
  void tell_refused(const GangState& state);
  void copy_snapshots(const GangState& state);
  void tell_set_aside(const Verdict& verdict, bool again);
  void tell_no_copies(int64_t step, const std::string& problem);
  void tell(const Verdict& verdict);
  void event(RunEvent event, const Verdict& verdict, const std::string& detail);
  [[nodiscard]] LauncherOptions launcher_options(const std::vector<GangShare>& shares) const;
  void wait(Gang& gang, int milliseconds);
  /// Of what all nodes have told since it was first suspected: who is not heard explains more than who waits for it.
  [[nodiscard]] std::optional<Verdict> judge(const GangState& state);

  CoordinatorOptions options_;
  RunDirectory run_;
  Nodes& nodes_;
  UniqueDescriptor signals_;
  EpochLog log_;
  AppendFile events_;
  ProgressLimits limits_;
  ChaosLog chaos_;
  CopyRounds copies_;
  MeshShape mesh_;
  int places_;            // that the layout was chosen for
  int lost_places_ = 0;   // by injected faults
  bool growing_ = false;  // the gang was asked to stop, so that a wider one can start
  int64_t epoch_;
  int64_t restarts_ = 0;
  int64_t committed_ = -1;               // by any gang so far
  int fruitless_ = 0;                    // gangs in a row that committed nothing
  int64_t failed_step_ = -1;             // of the last of them; -2: of several
  std::string blamed_host_;              // by the last of them
  bool worked_ = false;                  // some gang has committed something
  std::optional<int64_t> suspect_step_;  // whose result was not finite
  bool stopping_ = false;
  bool abandoned_ = false;  // by a second Ctrl-C
  bool workers_logged_ = false;
  std::optional<int64_t> suspected_ns_;
  Clock::duration look_cost_{};
  Clock::time_point learned_;
  StragglerWatch stragglers_{0};
  std::optional<Recovery> recovery_;
  RefusalWatch refusals_;
};

}  // namespace trident
