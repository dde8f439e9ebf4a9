#pragma once

#include <poll.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/launcher.h"
#include "launch/node.h"
#include "launch/progress_limits.h"

namespace trident {

/// Every rank has done a step that the gangs before had not.
[[nodiscard]] bool has_gone_on(const std::vector<RankState>& ranks);

/// A node's part in a gang.
struct GangShare {
  Node* node = nullptr;
  int ranks = 0;
};

/// The ranks of one epoch on all nodes: started by mpirun, watched and killed through their nodes' agents.
class Gang {
 public:
  /// Prepares the nodes, ranks by their order. `options.ranks` are the sum of theirs.
  Gang(LauncherOptions options, std::vector<GangShare> shares, const JobPlace& place, const MeshShape& mesh,
       const MeshOrder& order);
  /// Kills what still runs, and removes what the gang left.
  ~Gang();
  Gang(const Gang&) = delete;
  Gang& operator=(const Gang&) = delete;

  /// Of the ranks, what their nodes saw last; end_order holds among all. Who has not been heard of is as if not
  /// started.
  [[nodiscard]] const GangState& state() const { return state_; }
  [[nodiscard]] const std::vector<RankState>& ranks() const { return state_.ranks; }
  /// How many nodes have ranks.
  [[nodiscard]] int nodes() const { return static_cast<int>(shares_.size()); }
  /// How long ranks may go without a heartbeat.
  void set_limits(const ProgressLimits& limits);
  /// All nodes were ready, and mpirun was started.
  [[nodiscard]] bool launched() const { return launcher_.has_value(); }
  [[nodiscard]] bool all_started() const;
  [[nodiscard]] bool all_ended() const;
  /// How mpirun ended, as waitpid() tells it.
  [[nodiscard]] std::optional<int> launcher_status() const { return launcher_status_; }

  /// What mpirun has said itself since this was asked last.
  [[nodiscard]] std::string launcher_words() { return launcher_ ? launcher_->words() : std::string(); }

  /// Adds the launcher's descriptor. The nodes' are theirs to watch.
  void watch(std::vector<pollfd>& events) const;
  /// Takes in what the nodes have heard, and how mpirun does; starts it once all nodes are ready.
  void advance();
  /// For mpirun to end.
  void wait_for_launcher(int milliseconds);
  /// Passes a signal to every worker.
  void signal(int number) const;
  /// SIGKILL to every worker, straight; returns once all are gone. Throws Error(internal) where one is not within 10 s:
  /// then nothing may be started in its place.
  void kill();

 private:
  void start_when_ready();
  void note_launcher();
  void look();
  [[nodiscard]] std::optional<std::string> alive() const;

  LauncherOptions options_;
  const JobPlace& place_;
  std::vector<GangShare> shares_;
  std::optional<Launcher> launcher_;
  std::optional<int> launcher_status_;
  GangState state_;
  int ends_ = 0;
};

}  // namespace trident
