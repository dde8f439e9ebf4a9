#pragma once

#include <poll.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/copy_order.h"
#include "launch/verdict.h"

namespace trident {

/// What a node has to do with an epoch: ranks first_rank up to first_rank + ranks.
struct NodeShare {
  int64_t epoch = 0;
  int first_rank = 0;
  int ranks = 0;

  [[nodiscard]] bool operator==(const NodeShare&) const = default;
};

/// What a node knows of its ranks.
struct NodeState {
  NodeShare share;
  /// Of the share, by rank. What they may take (limit_s) is not the node's to know, and end_order holds within it.
  std::vector<RankState> ranks;
};

/// A node as the coordinator sees it. Nothing here waits: what was asked for shows later, after advance().
class Node {
 public:
  Node() = default;
  virtual ~Node() = default;
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  [[nodiscard]] virtual const std::string& host() const = 0;

  /// Gets ready for the ranks of an epoch, which mpirun starts once all nodes are. Nothing older is heard any more.
  virtual void begin(const NodeShare& share) = 0;
  [[nodiscard]] virtual bool ready() const = 0;
  /// Passes a signal to every worker.
  virtual void signal(int number) = 0;
  /// SIGKILL to every worker, straight; of this epoch no other is let in.
  virtual void fence() = 0;
  /// What has not ended yet, in words; nothing once all workers are gone.
  [[nodiscard]] virtual std::optional<std::string> alive() const = 0;
  /// Removes what the fenced epoch left on the node. The launcher has ended.
  virtual void clear() = 0;
  virtual void remove_snapshots() = 0;
  /// Where it takes copies of other nodes' snapshots; nowhere where the job has one node.
  [[nodiscard]] virtual CopyAddress copies_at() const = 0;
  /// Of this epoch's ranks. An order that comes later takes the place of this one.
  virtual void copy(const CopyOrder& order) = 0;
  [[nodiscard]] virtual CopyState copied() const = 0;

  /// What is new since the last look; no ranks where nothing is.
  [[nodiscard]] virtual NodeState look() = 0;
  /// Adds the descriptors whose events bring news.
  virtual void watch(std::vector<pollfd>& events) const = 0;
  /// Takes in what has come.
  virtual void advance() = 0;
};

}  // namespace trident
