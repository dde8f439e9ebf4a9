#pragma once

#include <poll.h>

#include <map>
#include <string>
#include <vector>

#include "checkpoint/snapshot_transfer.h"
#include "launch/copy_messages.h"
#include "launch/copy_order.h"
#include "launch/wire/listener.h"

namespace trident {

/// Keeps copies of other nodes' snapshots in this node's memory, each verified before it is sealed. Takes what its
/// order names and nothing else: a peer that sends anything else is dropped. For a poll() loop, on a thread that does
/// nothing more urgent: the first snapshot of a rank makes its memory.
class CopyReceiver {
 public:
  /// Copies are named `prefix`.LAYOUT.RANK.copy.
  CopyReceiver(std::string prefix, WireListener listener);

  [[nodiscard]] uint16_t port() const { return listener_.port(); }
  void follow(const CopyOrder& order);
  /// Nothing is filled any more, and connections are closed.
  void stop();
  void watch(std::vector<pollfd>& events) const;
  /// Takes in what has come; whether there is more to do at once.
  bool advance();
  /// Names of what it keeps.
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  [[nodiscard]] bool hear(WireLink& link);
  void take(WireLink& link, const Frame& frame);
  [[nodiscard]] CopyAnswer keep(const SnapshotPiece& piece);

  std::string prefix_;
  WireListener listener_;
  CopyOrder order_;
  std::vector<WireLink> links_;
  std::map<int32_t, SnapshotReceiver> copies_;  // by rank
};

}  // namespace trident
