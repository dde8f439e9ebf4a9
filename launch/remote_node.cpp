#include "launch/remote_node.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace trident {
namespace {

constexpr std::chrono::seconds kOwnSleep{1};
constexpr std::chrono::seconds kGap{1};
constexpr std::chrono::seconds kFirstHoldOff{5};
constexpr int kMostDoublings = 6;

}  // namespace

int64_t steady_now_ns() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

RemoteNode::RemoteNode(uint32_t index, Host place, NodeTimes times)
    : index_(index), place_(std::move(place)), times_(times) {}

void RemoteNode::connect(WireLink link, const NodeHello& hello, int64_t epoch) {
  if (hello.self != peer_) {
    set_aside_ = proven_ = false;
  } else if (!silent_) {
    count_eviction();  // the link was at fault, or the node so slow that its lease ran out
  }
  link_.emplace(std::move(link));
  peer_ = hello.self;
  share_ = {epoch, 0, 0};
  report_ = {};
  heard_ = steady_since_ = looked_ = Clock::now();
  send_view(epoch);
  send(NodeMessage::fence);
  silent_ = false;
  forget_its_past();
  ask();
}

bool RemoteNode::usable() const {
  if (!connected() || lost() || set_aside_) return false;
  if (evictions_ == 0) return true;
  const auto hold_off = kFirstHoldOff * (1 << std::min(evictions_ - 1, kMostDoublings));
  return Clock::now() - steady_since_ >= hold_off;
}

std::optional<std::string> RemoteNode::lost() const {
  if (!connected()) return link_ ? "its agent is gone: " + link_->reason() : "its agent has not come";
  const auto silence = Clock::now() - heard_;
  if (silence < times_.timeout) return std::nullopt;
  return fmt::format("nothing was heard of it for {:.1f} s", std::chrono::duration<double>(silence).count());
}

void RemoteNode::forget_its_past() {
  if (connected() && std::exchange(passed_over_, false)) remove_snapshots();
}

// Only of what it was entrusted with: while it waits to be taken in again, a link may fail as often as it will.
void RemoteNode::count_eviction() {
  if (share_.ranks > 0) ++evictions_;
}

// An agent that has ended took its ranks with it and left its node's memory as it was.
void RemoteNode::evict() {
  if (!connected()) return;
  silent_ = true;
  count_eviction();
  link_->close("it was given up");
}

void RemoteNode::send_view(int64_t epoch) {
  share_.epoch = std::max(share_.epoch, epoch);
  send(NodeMessage::welcome, encode(*view_));
}

void RemoteNode::ask() {
  asked_ = Clock::now();
  send(NodeMessage::lease, encode(NodeLease{steady_now_ns(), report_.asked_ns}));
}

void RemoteNode::say_goodbye() { send(NodeMessage::goodbye); }

void RemoteNode::send(NodeMessage message, std::string payload) {
  if (connected()) (void)link_->send(frame_of(message, share_.epoch, std::move(payload)));
}

// ---- Node

void RemoteNode::begin(const NodeShare& share) {
  forget_its_past();
  share_ = share;
  send(NodeMessage::begin, encode(NodeBegin{share, *view_}));
  ask();
}

bool RemoteNode::ready() const { return report_.ready && report_.state.share == share_; }

void RemoteNode::signal(int number) { send(NodeMessage::signal, encode_number(number)); }

void RemoteNode::fence() {
  fence_ns_ = steady_now_ns();
  send(NodeMessage::fence);
  ask();
}

// Of a node that is lost nothing can be known; its agent's lease has run out before.
std::optional<std::string> RemoteNode::alive() const {
  if (!connected() || lost()) return std::nullopt;
  if (report_.answered_ns < fence_ns_) return "the agent on " + host() + " has not answered, so that a worker";
  return report_.alive.empty() ? std::nullopt : std::optional(report_.alive);
}

void RemoteNode::clear() { send(NodeMessage::clear); }

void RemoteNode::remove_snapshots() { send(NodeMessage::remove_snapshots); }

CopyAddress RemoteNode::copies_at() const { return {peer_.address, peer_.copies_port}; }

void RemoteNode::copy(const CopyOrder& order) { send(NodeMessage::copy, encode(order)); }

CopyState RemoteNode::copied() const { return report_.copies; }

NodeState RemoteNode::look() {
  if (report_.state.share == share_) return {share_, std::exchange(report_.state.ranks, {})};
  return {share_, {}};
}

void RemoteNode::watch(std::vector<pollfd>& events) const {
  if (connected()) events.push_back({link_->descriptor(), link_->events(), 0});
}

RemoteNode::Clock::time_point RemoteNode::next_ask() const {
  return asked_ + std::chrono::duration_cast<Clock::duration>(times_.heartbeat);
}

void RemoteNode::advance() {
  if (!connected()) return;
  const auto now = Clock::now();
  // If this process slept, the node's silence proves nothing.
  const auto gap = now - std::exchange(looked_, now);
  if (gap > kOwnSleep) heard_ += gap;
  while (const auto frame = link_->receive()) take(*frame);
  if (now >= next_ask()) ask();
}

void RemoteNode::take(const Frame& frame) {
  const auto now = Clock::now();
  const auto gap = now - std::exchange(heard_, now);
  if (gap > kGap) steady_since_ = now;
  if (frame.kind != static_cast<uint16_t>(NodeMessage::report)) return;
  auto report = decode_report(frame.payload, steady_now_ns());
  if (!report) return link_->close("it sent a report that makes no sense");
  for (RankState& rank : report->state.ranks) rank.host = host();
  report_ = std::move(*report);
  if (gap > 2 * times_.heartbeat) ask();  // its lease may be about to run out
}

}  // namespace trident
