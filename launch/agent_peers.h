#pragma once

#include <poll.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launch/node_messages.h"
#include "launch/remote_node.h"
#include "launch/wire/link.h"
#include "launch/wire/listener.h"

namespace trident {

/// What agents say to one another without their coordinator: each beats the next, so that others know which nodes live;
/// and once it is lost, they agree on who takes its place. A vote is given once for an epoch, and most of the nodes
/// that ran the last one must vote for whoever starts the next: so there is never a second.
class AgentPeers {
 public:
  /// Listens at the address of `self`.
  AgentPeers(NodePeer self, NodeTimes times, const JobSecret& secret, std::shared_ptr<WireCable> cable = nullptr);

  [[nodiscard]] const NodePeer& self() const { return self_; }
  /// Nodes that were heard, and seconds since then.
  [[nodiscard]] std::vector<std::pair<uint32_t, double>> heard() const;

  /// `bound`: this agent has a coordinator, or had one so lately that it may still count on this node.
  void advance(const NodeView& view, int64_t epoch, bool bound);
  void watch(std::vector<pollfd>& events) const;

  /// There may be another coordinator than that of the view: most have voted for it, or it was told of.
  [[nodiscard]] const std::optional<NodePeer>& found() const { return found_; }
  /// Most have voted for this node to begin this epoch.
  [[nodiscard]] std::optional<int64_t> elected() const { return elected_; }
  /// Gives the listener away: who was elected goes on to listen there.
  [[nodiscard]] WireListener take_listener();

 private:
  using Clock = std::chrono::steady_clock;

  void beat(const NodeView& view, int64_t epoch);
  void hear(const NodeView& view, int64_t epoch, bool bound);
  void answer(WireLink& link, const Frame& claim, const NodeView& view, bool bound);
  void claim(const NodeView& view, int64_t epoch);
  void count(const NodeView& view);
  [[nodiscard]] bool may_claim(const NodeView& view) const;

  NodePeer self_;
  NodeTimes times_;
  JobSecret secret_;
  std::shared_ptr<WireCable> cable_;
  WireListener listener_;
  std::vector<WireLink> incoming_;
  std::map<uint32_t, Clock::time_point> heard_;
  std::optional<WireLink> next_;  // in the ring
  Clock::time_point beaten_;
  int64_t voted_epoch_ = 0;
  uint32_t voted_for_ = 0;
  Clock::time_point patience_;                        // when this node may claim
  bool free_ = false;                                 // of a coordinator
  std::vector<std::pair<uint32_t, WireLink>> asked_;  // by a claim
  std::map<uint32_t, int64_t> votes_;                 // by node: the epoch
  Clock::time_point claimed_;
  int64_t claimed_epoch_ = 0;
  std::optional<NodePeer> found_;
  std::optional<int64_t> elected_;
};

}  // namespace trident
