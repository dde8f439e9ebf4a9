#pragma once

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "checkpoint/snapshot_transfer.h"
#include "launch/copy_order.h"
#include "launch/wire/link.h"
#include "launch/wire/secret.h"

namespace trident {

/// Sends snapshots of this node's ranks to the nodes that keep their copies. Never waits: for a poll() loop, on a
/// thread that does nothing more urgent.
class CopySender {
 public:
  /// `prefix` begins the names of the ranks' snapshot memory.
  CopySender(std::string prefix, JobSecret secret);

  /// Of the same epoch and step: what is under way goes on.
  void follow(const CopyOrder& order);
  /// Nothing more is sent, and connections are closed.
  void stop();
  void watch(std::vector<pollfd>& events) const;
  /// Moves on what can be; whether there is more to do at once.
  bool advance();
  /// Until it may be worth another advance(), though there is no event.
  [[nodiscard]] std::chrono::milliseconds patience() const;

  /// Of the order's step. A refusal is said in the log.
  [[nodiscard]] bool copied() const;
  [[nodiscard]] bool missed() const { return missed_; }
  /// Why nothing is copied: a partner has no room, or cannot be reached; empty: it is.
  [[nodiscard]] std::string problem() const;
  [[nodiscard]] bool no_room() const { return !no_room_.empty(); }

 private:
  using Clock = std::chrono::steady_clock;

  struct Task {
    CopyDuty duty;
    SnapshotSender snapshot;
    bool done = false;
  };
  struct Target {
    std::optional<WireLink> link;
    Clock::time_point tried;
    Clock::time_point reached;  // last; or since when it was to be
    std::string problem;
  };

  void begin_tasks();
  void keep_here() const;
  [[nodiscard]] WireLink* reach(const CopyAddress& to);
  void connect(const CopyAddress& to, Target& target);
  void hear(WireLink& link);
  [[nodiscard]] bool send(Task& task, WireLink& link);
  void look_for(Task& task);

  std::string prefix_;
  JobSecret secret_;
  CopyOrder order_;
  std::vector<Task> tasks_;
  std::map<CopyAddress, Target> targets_;
  Clock::time_point begun_;
  bool missed_ = false;
  std::string no_room_;  // what a partner said
};

}  // namespace trident
