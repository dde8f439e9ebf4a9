#include "launch/agent_peers.h"

#include <algorithm>

#include "core/log.h"

namespace trident {
namespace {

// Nodes claim one after the other, the lowest first.
constexpr std::chrono::milliseconds kTurn{700};
constexpr std::chrono::milliseconds kAskAgain{400};
// For the one that was voted for to begin.
constexpr std::chrono::seconds kAfterVote{5};

bool holds(const std::vector<uint32_t>& members, uint32_t node) {
  return std::find(members.begin(), members.end(), node) != members.end();
}

const NodePeer* find_peer(const NodeView& view, uint32_t node) {
  const auto found =
      std::find_if(view.peers.begin(), view.peers.end(), [&](const NodePeer& peer) { return peer.node == node; });
  return found == view.peers.end() ? nullptr : &*found;
}

bool is_claimant(const NodeView& view, const NodePeer& peer, uint32_t self) {
  return peer.node != self && peer.node != view.coordinator && peer.port != 0;
}

// The one after this, in a ring of all agents.
const NodePeer* next_in_ring(const NodeView& view, uint32_t self) {
  const NodePeer* next = nullptr;
  const auto distance = [&](const NodePeer& peer) { return peer.node - self; };  // wraps around
  for (const NodePeer& peer : view.peers) {
    if (is_claimant(view, peer, self) && (next == nullptr || distance(peer) < distance(*next))) next = &peer;
  }
  return next;
}

}  // namespace

AgentPeers::AgentPeers(NodePeer self, NodeTimes times, const JobSecret& secret, std::shared_ptr<WireCable> cable)
    : self_(std::move(self)),
      times_(times),
      secret_(secret),
      cable_(std::move(cable)),
      listener_({.address = self_.address, .cable = cable_}, secret) {
  self_.port = listener_.port();
}

std::vector<std::pair<uint32_t, double>> AgentPeers::heard() const {
  std::vector<std::pair<uint32_t, double>> all;
  for (const auto& [node, when] : heard_)
    all.emplace_back(node, std::chrono::duration<double>(Clock::now() - when).count());
  return all;
}

void AgentPeers::watch(std::vector<pollfd>& events) const {
  events.push_back({listener_.descriptor(), POLLIN, 0});
  const auto add = [&](const WireLink& link) {
    if (!link.closed()) events.push_back({link.descriptor(), link.events(), 0});
  };
  for (const WireLink& link : incoming_) add(link);
  for (const auto& [node, link] : asked_) add(link);
  if (next_) add(*next_);
}

WireListener AgentPeers::take_listener() {
  incoming_.clear();
  asked_.clear();
  next_.reset();
  return std::move(listener_);
}

void AgentPeers::advance(const NodeView& view, int64_t epoch, bool bound) {
  hear(view, epoch, bound);
  beat(view, epoch);
  if (bound) {
    free_ = false;
    asked_.clear();
    found_.reset();
    return;
  }
  if (!std::exchange(free_, true)) {
    const auto lower = std::count_if(view.peers.begin(), view.peers.end(), [&](const NodePeer& peer) {
      return is_claimant(view, peer, self_.node) && peer.node < self_.node;
    });
    patience_ = Clock::now() + lower * kTurn;
  }
  claim(view, epoch);
  count(view);
}

// ---- beats

void AgentPeers::beat(const NodeView& view, int64_t epoch) {
  const auto now = Clock::now();
  if (next_) {
    while (next_->receive()) continue;
  }
  if (now - beaten_ < times_.heartbeat) return;
  beaten_ = now;
  const NodePeer* next = next_in_ring(view, self_.node);
  if (next == nullptr) return;
  if (!next_ || next_->closed()) {
    next_.emplace(WireLink::connect(next->address, next->port, secret_,
                                    now + std::chrono::duration_cast<Clock::duration>(times_.lease()), cable_));
  } else if (next_->established()) {
    (void)next_->send(frame_of(NodeMessage::beat, epoch, encode_number(self_.node)));
  }
}

void AgentPeers::hear(const NodeView& view, int64_t epoch, bool bound) {
  for (WireLink& link : listener_.accept()) incoming_.push_back(std::move(link));
  for (WireLink& link : incoming_) {
    while (const auto frame = link.receive()) {
      const auto kind = static_cast<NodeMessage>(frame->kind);
      const auto node = kind == NodeMessage::beat ? decode_number(frame->payload) : std::nullopt;
      if (node) heard_[static_cast<uint32_t>(*node)] = Clock::now();
      if (kind == NodeMessage::hello) link.close("this node does not coordinate");
      if (kind == NodeMessage::claim) answer(link, *frame, view, bound || frame->epoch <= epoch);
    }
  }
  std::erase_if(incoming_, [](const WireLink& link) { return link.closed(); });
}

// ---- votes

void AgentPeers::answer(WireLink& link, const Frame& claim, const NodeView& view, bool bound) {
  const auto claimant = decode_hello(claim.payload);
  if (!claimant) return link.close("it claimed something that makes no sense");
  const uint32_t node = claimant->self.node;
  const bool given = claim.epoch < voted_epoch_ || (claim.epoch == voted_epoch_ && node != voted_for_);
  NodeVote vote{!bound && !given && holds(view.members, node), {}};
  if (vote.yes) {
    voted_epoch_ = claim.epoch;
    voted_for_ = node;
    patience_ = Clock::now() + kAfterVote;
    found_ = claimant->self;
  } else if (const NodePeer* known = bound ? find_peer(view, view.coordinator) : nullptr) {
    vote.coordinator = *known;
  }
  (void)link.send(frame_of(NodeMessage::vote, claim.epoch, encode(vote)));
}

bool AgentPeers::may_claim(const NodeView& view) const {
  const auto now = Clock::now();
  return now >= patience_ && now - claimed_ >= kAskAgain && view.members.size() > 2;
}

// Who did not run the last epoch asks too: it learns who coordinates.
void AgentPeers::claim(const NodeView& view, int64_t epoch) {
  if (!may_claim(view)) return;
  claimed_ = Clock::now();
  // Once voted for another, only a later epoch is left to claim.
  const bool other = voted_epoch_ > epoch && voted_for_ != self_.node;
  claimed_epoch_ = std::max(epoch + 1, other ? voted_epoch_ + 1 : voted_epoch_);
  if (holds(view.members, self_.node)) {
    voted_epoch_ = claimed_epoch_;
    voted_for_ = self_.node;
    votes_[self_.node] = claimed_epoch_;
  }
  asked_.clear();
  for (const NodePeer& peer : view.peers) {
    if (!is_claimant(view, peer, self_.node)) continue;
    asked_.emplace_back(peer.node, WireLink::connect(peer.address, peer.port, secret_, Clock::now() + kTurn, cable_));
  }
}

void AgentPeers::count(const NodeView& view) {
  for (auto& [node, link] : asked_) {
    const bool before = link.established();
    auto frame = link.receive();
    if (!before && link.established())
      (void)link.send(frame_of(NodeMessage::claim, claimed_epoch_, encode(NodeHello{self_, claimed_epoch_})));
    for (; frame; frame = link.receive()) {
      const auto vote = decode_vote(frame->payload);
      if (!vote || frame->epoch != claimed_epoch_) continue;
      if (vote->yes) votes_[node] = claimed_epoch_;
      const bool another = vote->coordinator.port != 0 && vote->coordinator.node != view.coordinator;
      if (!vote->yes && another && vote->coordinator.node != self_.node) found_ = vote->coordinator;
    }
  }
  const auto yes = std::count_if(view.members.begin(), view.members.end(), [&](uint32_t member) {
    const auto vote = votes_.find(member);
    return vote != votes_.end() && vote->second == claimed_epoch_;
  });
  if (claimed_epoch_ > 0 && 2 * static_cast<size_t>(yes) > view.members.size()) elected_ = claimed_epoch_;
}

}  // namespace trident
