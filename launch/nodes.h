#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/agent.h"
#include "launch/gang.h"
#include "launch/hostfile.h"
#include "launch/node_verdict.h"
#include "launch/remote_node.h"
#include "launch/remote_shell.h"
#include "launch/wire/listener.h"

namespace trident {

struct ClusterOptions {
  std::vector<Host> hosts;
  uint32_t self = 0;                       ///< this machine's number among them
  std::string remote_shell;                ///< empty: agents come by themselves
  std::vector<std::string> agent_command;  ///< what runs as an agent on another host, but for who it is
  NodeTimes times;
};

/// All nodes of a job, as its coordinator sees them: this machine, and those whose agents connect to it.
class Nodes {
 public:
  /// Only this machine, which takes so many ranks.
  Nodes(Agent& self, int places);
  /// Several. `listener` is where agents connect to, at `address`.
  Nodes(Agent& self, ClusterOptions options, JobSecret secret, WireListener listener, std::string address);
  /// Tells them that the job has ended.
  ~Nodes();
  Nodes(const Nodes&) = delete;
  Nodes& operator=(const Nodes&) = delete;

  /// Starts an agent on every other host and waits for all of them. Throws Error(peer_lost) where one does not come.
  void gather();
  /// After an election: waits a little for the agents of that view, and for one where the coordinator was.
  void gather_voters(const NodeView& view, int64_t epoch);
  /// Starts those again that have ended, though their hosts answer, and waits a little for them.
  void gather_again();
  /// Ranks that nodes can take now.
  [[nodiscard]] int places() const;
  [[nodiscard]] bool several() const { return !remote_.empty(); }
  [[nodiscard]] Agent& self() { return self_; }
  /// Where this machine's coordinator listens; no port where it is the only machine.
  [[nodiscard]] const NodePeer& own() const { return own_; }
  /// What was not let in there.
  [[nodiscard]] WireCounters refused() const { return listener_ ? listener_->counters() : WireCounters(); }

  /// Who takes how many ranks of the epoch that begins; this machine first. They learn of one another.
  [[nodiscard]] std::vector<GangShare> share_out(int ranks, int64_t epoch);
  /// All of them are ready: once most of those before know of it, they are those of which most must agree. Before that
  /// the others could still choose another coordinator. To be called until the epoch ends.
  void commit_members();

  /// This node's too.
  void watch(std::vector<pollfd>& events) const;
  /// The most of that time that may pass before advance() has to ask a node again.
  [[nodiscard]] int patience(int milliseconds) const;
  void advance();
  /// Those of this epoch's that are lost; they are given up.
  [[nodiscard]] std::optional<LostNodes> give_up_lost();
  [[nodiscard]] bool any_lost() const;
  /// Before another epoch may begin, at least half of the nodes that ran the last one, this one among them, must answer
  /// within the timeout. Otherwise what is wrong.
  [[nodiscard]] std::optional<LostNodes> confirm();
  /// Whether every node of this epoch has answered to what was sent to it after that.
  [[nodiscard]] bool answered_since(int64_t steady_ns) const;
  void ask();
  void remove_snapshots();

  /// Ranks of this epoch have come on.
  void prove_members();
  /// Whether that has happened on this node since its agent came; this machine is known to work.
  [[nodiscard]] bool proven(const std::string& host) const;
  /// Whether the node may have ranks; false where there is no such node, as is this machine.
  bool set_aside(const std::string& host, bool aside);

 private:
  struct Starting {
    RemoteNode* node = nullptr;
    std::unique_ptr<RemoteStart> start;
    std::chrono::steady_clock::time_point since;
  };

  void accept();
  void take_first(WireLink& link, const Frame& frame);
  void start_agent(RemoteNode& node);
  void restart_agents();
  void end_starts();
  [[nodiscard]] bool is_starting(const RemoteNode& node) const;
  void wait_while(const std::function<bool(const RemoteNode&)>& missing, std::chrono::steady_clock::duration most);
  void renew_own_lease();
  [[nodiscard]] bool is_member(const RemoteNode& node) const;
  [[nodiscard]] RemoteNode* find(const std::string& host) const;
  [[nodiscard]] bool may_go_on(const std::vector<uint32_t>& members) const;
  [[nodiscard]] bool outvoted() const;
  [[nodiscard]] LostNodes too_few() const { return {own_.host, "most nodes have not answered", {}, false}; }
  [[nodiscard]] int64_t agreed_ns(const std::vector<uint32_t>& members) const;
  [[nodiscard]] int64_t lease_of(const std::vector<uint32_t>& members) const;
  [[nodiscard]] std::shared_ptr<const NodeView> view() const;
  void spread_view();
  [[nodiscard]] std::string heard_by_others(const RemoteNode& lost) const;

  Agent& self_;
  int places_ = 0;  // of this machine
  ClusterOptions options_;
  std::optional<JobSecret> secret_;
  std::optional<WireListener> listener_;
  NodePeer own_;
  int64_t epoch_ = 0;
  std::vector<std::unique_ptr<RemoteNode>> remote_;
  std::vector<WireLink> nameless_;
  std::vector<Starting> starting_;
  std::chrono::steady_clock::time_point tried_;  // to start agents that are missing
  bool view_changed_ = false;                    // since it was sent to all
  std::chrono::steady_clock::time_point view_sent_;
  int64_t shared_out_ns_ = 0;  // to next_members_
  // Sorted.
  std::vector<uint32_t> members_;       // most of which must agree
  std::vector<uint32_t> next_members_;  // most of these too, as long as they are others
};

}  // namespace trident
