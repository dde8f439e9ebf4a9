#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "launch/hostfile.h"
#include "launch/node.h"
#include "launch/node_messages.h"
#include "launch/wire/link.h"

namespace trident {

/// How long silence may last between a coordinator and an agent.
struct NodeTimes {
  std::chrono::duration<double> heartbeat{0.25};
  /// The coordinator calls a node lost that it has not heard of for so long.
  std::chrono::duration<double> timeout{3};

  /// An agent that was not asked for so long reports by itself. Whoever is asked answers at once.
  [[nodiscard]] std::chrono::duration<double> unasked() const { return heartbeat * 1.5; }

  /// An agent kills its workers when the coordinator has not answered for so long: before that gives their work to
  /// others.
  [[nodiscard]] std::chrono::duration<double> lease() const { return timeout * (5.0 / 6.0); }
};

/// Nanoseconds of the steady clock.
[[nodiscard]] int64_t steady_now_ns();

/// A node whose agent is another process, over a connection that may come and go.
class RemoteNode final : public Node {
 public:
  RemoteNode(uint32_t index, Host place, NodeTimes times);

  /// Its agent has come.
  void connect(WireLink link, const NodeHello& hello, int64_t epoch);
  [[nodiscard]] bool connected() const { return link_.has_value() && !link_->closed(); }
  [[nodiscard]] const NodePeer& peer() const { return peer_; }
  [[nodiscard]] uint32_t index() const { return index_; }
  [[nodiscard]] int places() const { return place_.slots; }
  /// It can take ranks: it is there, and where it was lost before, has been without a gap for a while, the longer the
  /// more often that has happened.
  [[nodiscard]] bool usable() const;
  /// Why it is lost, in words; nothing while it is heard of.
  [[nodiscard]] std::optional<std::string> lost() const;
  /// It is given up; it may come back.
  void evict();
  /// Ranks fail there: it takes none until another agent comes, which somebody has started who has mended it.
  void set_aside(bool aside) { set_aside_ = aside; }
  /// Ranks have come on there under this agent.
  void prove() { proven_ = true; }
  [[nodiscard]] bool proven() const { return proven_; }
  /// It was given up because nothing was heard, not because its agent had ended.
  [[nodiscard]] bool silent() const { return silent_ && !connected(); }
  /// When what it has answered last was sent to it.
  [[nodiscard]] int64_t answered_ns() const { return report_.answered_ns; }
  /// Seconds since its agent heard others'.
  [[nodiscard]] const std::vector<std::pair<uint32_t, double>>& neighbours() const { return report_.neighbours; }
  /// An epoch was begun without it: what its memory holds is of a past that the others may not share.
  void pass_over() { passed_over_ = true; }
  /// What begin() tells of the others.
  void set_view(std::shared_ptr<const NodeView> view) { view_ = std::move(view); }
  void send_view(int64_t epoch);
  /// It answers at once.
  void ask();
  /// When advance() asks it next.
  [[nodiscard]] std::chrono::steady_clock::time_point next_ask() const;
  /// The job has ended.
  void say_goodbye();

  [[nodiscard]] const std::string& host() const override { return place_.name; }
  void begin(const NodeShare& share) override;
  [[nodiscard]] bool ready() const override;
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

  void send(NodeMessage message, std::string payload = {});
  void take(const Frame& frame);
  void forget_its_past();
  void count_eviction();

  uint32_t index_;
  Host place_;
  NodeTimes times_;
  std::optional<WireLink> link_;
  NodePeer peer_;
  std::shared_ptr<const NodeView> view_ = std::make_shared<NodeView>();  // one for all nodes
  NodeShare share_;
  NodeReport report_;
  int64_t fence_ns_ = 0;  // when it was told to
  Clock::time_point heard_;
  Clock::time_point steady_since_;
  Clock::time_point looked_;
  Clock::time_point asked_;
  int evictions_ = 0;  // for silence, or a link that was lost and its agent was not
  bool silent_ = false;
  bool passed_over_ = false;
  bool set_aside_ = false;
  bool proven_ = false;
};

}  // namespace trident
