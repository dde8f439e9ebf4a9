#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "launch/agent.h"
#include "launch/agent_peers.h"
#include "launch/node_faults.h"
#include "launch/node_lock.h"
#include "launch/node_messages.h"
#include "launch/remote_node.h"
#include "launch/unique_descriptor.h"
#include "launch/wire/link.h"

namespace trident {

struct AgentServiceOptions {
  uint32_t node = 0;
  std::string host;     ///< its name in the hostfile
  std::string address;  ///< numeric, where the coordinator listens
  uint16_t port = 0;
  NodeTimes times;
  NodeFaults* faults = nullptr;  ///< for tests: what is to happen to this node
};

/// How an agent's service ends.
enum class AgentEnd {
  released,  ///< the job has ended
  alone,     ///< the coordinator is lost, and nobody takes its place
  elected,   ///< it is lost, and this node takes its place
};

/// Runs this node's agent for a coordinator elsewhere: does what it says, reports what happens, and kills the node's
/// workers when its lease runs out.
class AgentService {
 public:
  /// `lock` is the one under which `agent` works.
  AgentService(Agent& agent, const NodeLock& lock, AgentServiceOptions options, JobSecret secret);

  [[nodiscard]] AgentEnd run();
  /// Where elected: of what.
  [[nodiscard]] const NodeView& view() const { return view_; }
  [[nodiscard]] AgentPeers& peers() { return peers_; }

 private:
  using Clock = std::chrono::steady_clock;

  void wait();
  void reach_coordinator();
  void take(const Frame& frame);
  void obey(NodeMessage message, const std::string& payload);
  void begin(const NodeBegin& order);
  void hear_lease(const NodeLease& lease);
  void watch_lease();
  void report_if_due();
  void inject();
  [[nodiscard]] std::shared_ptr<WireCable> cable() const;
  [[nodiscard]] bool leased() const;
  [[nodiscard]] bool bound() const;
  void follow_votes();
  [[nodiscard]] std::optional<AgentEnd> ended() const;

  Agent& agent_;
  const NodeLock& lock_;
  AgentServiceOptions options_;
  JobSecret secret_;
  AgentPeers peers_;
  UniqueDescriptor signals_;
  std::optional<WireLink> link_;
  bool greeted_ = false;  // hello was said over it
  int64_t greeted_ns_ = 0;
  NodeView view_;
  int64_t epoch_ = 0;
  int64_t told_ns_ = 0;         // when the newest report was sent
  int64_t confirmed_ns_ = 0;    // when the newest report was sent that the coordinator has answered
  int64_t lease_asked_ns_ = 0;  // the coordinator's clock
  bool report_now_ = false;
  bool released_ = false;
  bool asked_to_end_ = false;
  bool had_lease_ = false;
  bool refused_ = false;  // the coordinator's machine answers, and nobody listens there
  std::tuple<int64_t, bool, bool, int64_t> told_{};
  Clock::time_point tried_;
  Clock::time_point reported_;
  Clock::time_point heard_ = Clock::now();
  bool fast_ = false;  // until all ranks have done a step, which is timed
};

}  // namespace trident
