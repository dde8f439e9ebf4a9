#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launch/node.h"
#include "launch/wire/frame.h"

// What a coordinator and its nodes' agents say to one another over a WireLink. A frame's epoch is the newest that its
// sender knows. Times are a steady clock's nanoseconds and mean something only to who sent them first.

namespace trident {

enum class NodeMessage : uint16_t {
  hello = 1,         ///< agent: who it is
  welcome,           ///< coordinator: who else there is
  begin,             ///< coordinator: a share of an epoch, and the nodes in it
  signal,            ///< coordinator: to pass to the workers
  fence,             ///< coordinator: no worker of this epoch or an older one may live
  clear,             ///< coordinator: remove what the fenced epoch left
  remove_snapshots,  ///< coordinator
  lease,             ///< coordinator: is there; answered by a report
  report,            ///< agent: all that it knows
  goodbye,           ///< coordinator: the job has ended
  beat,              ///< agent, to another: is there
  claim,             ///< agent, to another: wants to coordinate as of the frame's epoch
  vote,              ///< the answer
  copy,              ///< coordinator: which snapshots to keep in another node's memory, too
  piece,             ///< agent, to another that keeps copies (copy_messages.h)
  kept,              ///< the answer
};

/// Where a node's agent, or the coordinator, listens.
struct NodePeer {
  uint32_t node = 0;
  std::string host;
  std::string address;
  uint16_t port = 0;
  uint16_t copies_port = 0;  ///< where it takes copies of snapshots

  [[nodiscard]] bool operator==(const NodePeer&) const = default;
};

struct NodeHello {
  NodePeer self;
  int64_t epoch = 0;  ///< the newest that it has seen
};

/// The nodes of a job: all that have come, and those that run an epoch, of which most must agree on who coordinates.
struct NodeView {
  uint32_t coordinator = 0;
  std::vector<NodePeer> peers;
  std::vector<uint32_t> members;

  [[nodiscard]] bool operator==(const NodeView&) const = default;
};

struct NodeBegin {
  NodeShare share;
  NodeView view;
};

struct NodeLease {
  int64_t asked_ns = 0;     ///< when it was sent
  int64_t answered_ns = 0;  ///< asked_ns of the newest report that has come
};

struct NodeReport {
  int64_t asked_ns = 0;     ///< when it was sent
  int64_t answered_ns = 0;  ///< asked_ns of the newest lease that has come
  bool ready = false;
  std::string alive;  ///< what has not ended yet
  /// Nodes whose agents beat this one, and seconds since the last.
  std::vector<std::pair<uint32_t, double>> neighbours;
  NodeState state;
  CopyState copies;
};

struct NodeVote {
  bool yes = false;
  NodePeer coordinator;  ///< where it is not: who the voter thinks it is; no port: it does not know
};

[[nodiscard]] std::string encode(const NodeHello& hello);
[[nodiscard]] std::string encode(const NodeView& view);
[[nodiscard]] std::string encode(const NodeBegin& begin);
[[nodiscard]] std::string encode(const NodeLease& lease);
/// Of `now_ns`, so that ends of ranks can be told by how long ago they were.
[[nodiscard]] std::string encode(const NodeReport& report, int64_t now_ns);
[[nodiscard]] std::string encode(const NodeVote& vote);
[[nodiscard]] std::string encode(const CopyOrder& order);
[[nodiscard]] std::string encode_number(int64_t value);

// Nothing where the payload is none.
[[nodiscard]] std::optional<NodeHello> decode_hello(std::string_view payload);
[[nodiscard]] std::optional<NodeView> decode_view(std::string_view payload);
[[nodiscard]] std::optional<NodeBegin> decode_begin(std::string_view payload);
[[nodiscard]] std::optional<NodeLease> decode_lease(std::string_view payload);
[[nodiscard]] std::optional<NodeReport> decode_report(std::string_view payload, int64_t now_ns);
[[nodiscard]] std::optional<NodeVote> decode_vote(std::string_view payload);
[[nodiscard]] std::optional<CopyOrder> decode_copy_order(std::string_view payload);
[[nodiscard]] std::optional<int64_t> decode_number(std::string_view payload);

/// A frame of this message.
[[nodiscard]] Frame frame_of(NodeMessage message, int64_t epoch, std::string payload = {});

}  // namespace trident
