#pragma once

#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/guardian.h"
#include "launch/heartbeat_memory.h"
#include "launch/job_place.h"
#include "launch/kernel_kills.h"
#include "launch/node.h"
#include "launch/snapshot_exchange.h"
#include "launch/unique_descriptor.h"

namespace trident {

/// The watcher of a node: makes the memory for its ranks' heartbeats, hears their guardians, kills workers, and removes
/// what they leave. It decides nothing. One agent a run and node.
class Agent final : public Node {
 public:
  /// Makes the job's place on this node anew. Throws Error.
  explicit Agent(JobPlace place);
  /// Kills what still runs, and removes the place, but the snapshots.
  ~Agent() override;

  [[nodiscard]] const JobPlace& place() const { return place_; }
  [[nodiscard]] int64_t epoch() const { return share_.epoch; }
  /// Grows with what guardians tell.
  [[nodiscard]] int64_t news() const { return news_; }
  /// Until then, by the steady clock, this node's workers may leave behind what others would read.
  /// For ever where nobody says.
  void extend_lease(int64_t steady_ns);
  /// The job has several nodes, whose agents keep copies of one another's snapshots: this one at `address`, numeric.
  /// Throws Error.
  void exchange_copies(const std::string& address, const JobSecret& secret);
  [[nodiscard]] const std::string& host() const override { return host_; }
  /// Throws Error where there is no room for heartbeats.
  void begin(const NodeShare& share) override;
  [[nodiscard]] bool ready() const override { return begun() && (!exchange_ || exchange_->paused()); }
  /// There is an epoch that was not cleared away yet.
  [[nodiscard]] bool begun() const { return heartbeats_.has_value(); }
  void signal(int number) override;
  void fence() override;
  [[nodiscard]] std::optional<std::string> alive() const override;
  void clear() override;
  void remove_snapshots() override;
  [[nodiscard]] CopyAddress copies_at() const override;
  void copy(const CopyOrder& order) override;
  [[nodiscard]] CopyState copied() const override;
  [[nodiscard]] NodeState look() override;
  void watch(std::vector<pollfd>& events) const override;
  void advance() override;

 private:
  using Clock = std::chrono::steady_clock;

  /// One rank's process, as its guardian tells of it.
  struct Worker {
    int64_t pid = 0;  ///< 0: not started yet
    bool ended = false;
    int wait_status = 0;
    int end_order = 0;
    bool lost = false;          ///< its guardian is gone without a word, and so is it
    UniqueDescriptor process;   ///< names the process even after its number is given to another
    UniqueDescriptor guardian;  ///< socket
    KernelKills kernel_kills;   ///< in its control group, which need not be the agent's
    uint64_t beats = 0;
    Clock::time_point last_beat;
  };

  void accept_guardians();
  void hear(UniqueDescriptor& guardian);
  void take(const GuardianMessage& message, UniqueDescriptor& guardian);
  void end(Worker& worker, int wait_status);
  void let_go_of_guardians();
  [[nodiscard]] RankState look_at(int index, Clock::time_point now, Clock::duration slept);

  JobPlace place_;
  std::string host_;
  UniqueDescriptor listener_;
  NodeShare share_;
  bool fencing_ = false;  // or nothing begun
  std::optional<HeartbeatMemory> heartbeats_;
  std::vector<Worker> workers_;             // by rank, from the share's first
  std::vector<UniqueDescriptor> nameless_;  // guardians that have not said whose they are
  std::unique_ptr<SnapshotExchange> exchange_;
  UniqueDescriptor daemon_;  // mpirun, or what it has started the guardians with on this node
  int ends_ = 0;
  int64_t news_ = 0;
  int64_t lease_ns_ = std::numeric_limits<int64_t>::max();
  Clock::time_point last_look_;
};

}  // namespace trident
