#include "bench/coordinator/simulated_nodes.h"

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "launch/node_messages.h"
#include "launch/remote_node.h"
#include "launch/wire/link.h"

namespace trident {
namespace {

const auto kUnaskedNs = static_cast<int64_t>(NodeTimes().unasked().count() * 1e9);
constexpr int64_t kStartNs = 500'000'000;  // from `begin` to ranks that train

struct Node {
  WireLink link;
  int64_t epoch = 0;
  bool greeted = false;
  bool ready = false;
  bool fenced = false;
  bool released = false;
  bool report_now = false;
  NodeShare share{};
  int64_t lease_asked_ns = 0;
  int64_t due_ns = 0;
};

class Simulation {
 public:
  Simulation(const SimulatedGang& gang, const SimulatedTimes& times, SimulationLog& log)
      : gang_(gang), times_(times), log_(log) {}

  void connect(uint16_t port, const JobSecret& secret) {
    for (int i = 0; i < gang_.nodes(); ++i)
      nodes_.push_back(
          {.link = WireLink::connect("127.0.0.1", port, secret, WireLink::Clock::now() + std::chrono::seconds(60))});
  }
  void run() {
    while (!all_over()) {
      wait();
      now_ = steady_now_ns();
      for (size_t i = 0; i < nodes_.size(); ++i) advance(i);
      follow_plan();
    }
  }

 private:
  [[nodiscard]] bool all_over() const {
    return std::all_of(nodes_.begin(), nodes_.end(), [](const Node& n) { return n.released || n.link.closed(); });
  }
  void wait() {
    events_.clear();
    for (const Node& node : nodes_) events_.push_back({node.link.descriptor(), node.link.events(), 0});
    (void)::poll(events_.data(), events_.size(), 2);
  }
  void advance(size_t index) {
    Node& node = nodes_[index];
    if (node.link.closed()) return;
    if (events_[index].revents != 0 || !node.link.established()) {
      while (const auto frame = node.link.receive()) obey(node, *frame);
    }
    if (node.link.established() && !std::exchange(node.greeted, true)) greet(node, index);
    if (node.greeted && (node.report_now || now_ >= node.due_ns)) report(node);
  }
  static void greet(Node& node, size_t index) {
    const auto number = static_cast<uint32_t>(index + 1);
    const NodeHello hello{{number, "node" + std::to_string(number), "127.0.0.1", 1}, node.epoch};
    (void)node.link.send(frame_of(NodeMessage::hello, node.epoch, encode(hello)));
  }
  void obey(Node& node, const Frame& frame) {
    node.epoch = std::max(node.epoch, frame.epoch);
    switch (static_cast<NodeMessage>(frame.kind)) {
      case NodeMessage::begin:
        node.share = decode_begin(frame.payload).value().share;
        node.ready = node.report_now = true;
        node.fenced = false;
        break;
      case NodeMessage::fence:
        if (node.ready && !std::exchange(node.fenced, true)) note_fence();
        break;
      case NodeMessage::clear: node.ready = false; break;
      case NodeMessage::lease:
        node.lease_asked_ns = decode_lease(frame.payload).value().asked_ns;
        node.report_now = true;
        break;
      case NodeMessage::goodbye: node.released = true; break;
      default: break;
    }
  }
  void note_fence() {
    if (log_.first_fence_ns == 0) log_.first_fence_ns = now_;
    log_.last_fence_ns = now_;
  }
  // As long as not all are ready, none trains.
  void follow_plan() {
    if (began_ns_ == 0) {
      if (std::all_of(nodes_.begin(), nodes_.end(), [](const Node& node) { return node.ready; })) began_ns_ = now_;
      return;
    }
    const double trained = static_cast<double>(now_ - began_ns_ - kStartNs) * 1e-9;
    const bool over = trained >= times_.settle + times_.steady;
    log_.steady = !over && trained >= times_.settle;
    if (!over || over_ns_ != 0) return;
    log_.injected_ns = over_ns_ = now_;
    // Agents tell of the end of a process at once.
    for (Node& node : nodes_) {
      const int last = node.share.first_rank + node.share.ranks;
      const bool hit = gang_.culprit() >= node.share.first_rank && gang_.culprit() < last;
      node.report_now = gang_.fault == SimulatedFault::dead ? hit : gang_.fault != SimulatedFault::hung;
    }
  }
  void report(Node& node) {
    if (log_.steady) note_lag(node);
    node.due_ns = now_ + kUnaskedNs;
    node.report_now = false;
    NodeReport report;
    report.asked_ns = now_;
    report.answered_ns = node.lease_asked_ns;
    report.ready = node.ready;
    report.state.share = node.share;
    for (int i = 0; i < node.share.ranks && node.ready; ++i)
      report.state.ranks.push_back(look_at(node.share.first_rank + i));
    const std::string payload = encode(report, now_);
    if (log_.steady) log_.report_bytes += static_cast<int64_t>(payload.size() + kFrameOverhead);
    (void)node.link.send(frame_of(NodeMessage::report, node.epoch, payload));
  }
  void note_lag(const Node& node) {
    ++log_.reports;
    if (now_ - node.due_ns > log_.longest_lag_ns) log_.longest_lag_ns = now_ - node.due_ns;
  }
  [[nodiscard]] RankState look_at(int rank) const {
    const double trained = began_ns_ == 0 ? -1 : static_cast<double>(now_ - began_ns_ - kStartNs) * 1e-9;
    if (trained < 0) {
      RankState waiting;
      waiting.rank = rank;
      return waiting;
    }
    const double over = over_ns_ == 0 ? -1 : static_cast<double>(now_ - over_ns_) * 1e-9;
    if (gang_.fault != SimulatedFault::none || over < 0) return gang_.rank(rank, trained, over);
    RankState done = gang_.rank(rank, trained, -1);
    done.record.state = RankRecord::State::finished;
    done.ended = true;
    return done;
  }

  SimulatedGang gang_;
  SimulatedTimes times_;
  SimulationLog& log_;
  std::vector<Node> nodes_;
  std::vector<pollfd> events_;
  int64_t now_ = 0;
  int64_t began_ns_ = 0;
  int64_t over_ns_ = 0;
};

}  // namespace

void simulate_nodes(const SimulatedGang& gang, const SimulatedTimes& times, uint16_t port, const JobSecret& secret,
                    SimulationLog& log) {
  Simulation simulation(gang, times, log);
  simulation.connect(port, secret);
  simulation.run();
}

}  // namespace trident
