#include "launch/agent_service.h"

#include <fmt/format.h>
#include <sys/signalfd.h>

#include <algorithm>
#include <csignal>
#include <utility>

#include "core/log.h"
#include "launch/gang.h"
#include "launch/hostfile.h"
#include "launch/node_verdict.h"
#include "launch/wire/socket_address.h"

namespace trident {
namespace {

constexpr std::chrono::milliseconds kRetry{300};
constexpr std::chrono::milliseconds kHandshake{1500};
constexpr std::chrono::seconds kPatience{60};  // without a coordinator
constexpr std::chrono::milliseconds kFast{20};
constexpr std::chrono::milliseconds kFastOfEach{1};  // so that all nodes together do not drown their coordinator

UniqueDescriptor ending_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  return UniqueDescriptor(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

std::chrono::milliseconds fast_interval(size_t nodes, std::chrono::duration<double> heartbeat) {
  const auto most = std::chrono::duration_cast<std::chrono::milliseconds>(heartbeat);
  return std::min(std::max(kFast, kFastOfEach * static_cast<int64_t>(nodes)), std::max(kFast, most));
}

NodePeer self_of(Agent& agent, const AgentServiceOptions& options, const JobSecret& secret) {
  const std::string address = address_towards(options.address);
  agent.exchange_copies(address, secret);
  return {options.node, options.host, address, 0, agent.copies_at().port};
}

}  // namespace

AgentService::AgentService(Agent& agent, const NodeLock& lock, AgentServiceOptions options, JobSecret secret)
    : agent_(agent),
      lock_(lock),
      options_(std::move(options)),
      secret_(std::move(secret)),
      peers_(self_of(agent, options_, secret_), options_.times, secret_, cable()),
      signals_(ending_signals()) {}

AgentEnd AgentService::run() {
  for (;;) {
    wait();
    agent_.advance();
    inject();
    reach_coordinator();
    watch_lease();
    report_if_due();
    follow_votes();
    if (const auto end = ended()) return *end;
  }
}

std::shared_ptr<WireCable> AgentService::cable() const {
  return options_.faults == nullptr ? nullptr : options_.faults->cable();
}

void AgentService::inject() {
  if (options_.faults == nullptr || options_.faults->none() || !agent_.begun()) return;
  options_.faults->advance({.epoch = agent_.epoch(),
                            .step = furthest_step(agent_.look().ranks),
                            .coordinator = {view_.coordinator, {}, options_.address, options_.port}});
}

void AgentService::wait() {
  std::vector<pollfd> events{{signals_.get(), POLLIN, 0}, {lock_.descriptor(), POLLIN, 0}};
  if (link_ && !link_->closed()) events.push_back({link_->descriptor(), link_->events(), 0});
  agent_.watch(events);
  peers_.watch(events);
  const auto most = fast_ ? fast_interval(view_.peers.size(), options_.times.heartbeat)
                          : std::chrono::duration_cast<std::chrono::milliseconds>(options_.times.heartbeat);
  (void)::poll(events.data(), events.size(), static_cast<int>(most.count()));
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    // The coordinator decides about a stop at the end of a step; Ctrl-C of a terminal is for it.
    asked_to_end_ = asked_to_end_ || info.ssi_signo == SIGTERM;
  }
  // Who wants to be this node's agent only gets its place where nobody leases it.
  asked_to_end_ = asked_to_end_ || ((events[1].revents & POLLIN) != 0 && !leased());
}

std::optional<AgentEnd> AgentService::ended() const {
  if (peers_.elected()) return AgentEnd::elected;
  // Of two nodes, one is not most.
  const bool hopeless = refused_ && !leased() && view_.members.size() <= 2;
  const bool wanted = released_ || asked_to_end_ || hopeless || Clock::now() - heard_ > kPatience;
  if (!wanted) return std::nullopt;
  agent_.fence();
  if (agent_.alive()) return std::nullopt;
  agent_.clear();
  return released_ ? AgentEnd::released : AgentEnd::alone;
}

// ---- the coordinator

void AgentService::reach_coordinator() {
  if (!link_ || link_->closed()) {
    refused_ = link_ && link_->refused();
    if (Clock::now() - tried_ < kRetry) return;
    tried_ = Clock::now();
    greeted_ = false;
    link_.emplace(WireLink::connect(options_.address, options_.port, secret_, tried_ + kHandshake, cable()));
  }
  while (const auto frame = link_->receive()) take(*frame);
  if (!link_->established() || std::exchange(greeted_, true)) return;
  greeted_ns_ = steady_now_ns();
  (void)link_->send(frame_of(NodeMessage::hello, epoch_, encode(NodeHello{peers_.self(), epoch_})));
}

void AgentService::take(const Frame& frame) {
  if (frame.epoch < epoch_) return;  // of a coordinator whose time is over
  epoch_ = frame.epoch;
  heard_ = Clock::now();
  obey(static_cast<NodeMessage>(frame.kind), frame.payload);
}

void AgentService::obey(NodeMessage message, const std::string& payload) {
  switch (message) {
    case NodeMessage::welcome:
      confirmed_ns_ = std::max(confirmed_ns_, greeted_ns_);
      if (auto view = decode_view(payload)) view_ = std::move(*view);
      break;
    case NodeMessage::begin:
      if (auto order = decode_begin(payload)) begin(*order);
      break;
    case NodeMessage::signal:
      if (decode_number(payload) == SIGUSR1) agent_.signal(SIGUSR1);
      break;
    case NodeMessage::fence: agent_.fence(); break;
    case NodeMessage::clear: agent_.clear(); break;
    case NodeMessage::remove_snapshots: agent_.remove_snapshots(); break;
    case NodeMessage::copy:
      if (const auto order = decode_copy_order(payload)) agent_.copy(*order);
      break;
    case NodeMessage::lease:
      if (const auto lease = decode_lease(payload)) hear_lease(*lease);
      break;
    case NodeMessage::goodbye: released_ = true; break;
    default: link_->close("it said something that no coordinator says");
  }
}

void AgentService::begin(const NodeBegin& order) {
  view_ = order.view;
  if (agent_.alive()) return agent_.fence();
  agent_.begin(order.share);
  log::info("epoch {}: ranks {} to {}", order.share.epoch, order.share.first_rank,
            order.share.first_rank + order.share.ranks - 1);
}

void AgentService::hear_lease(const NodeLease& lease) {
  lease_asked_ns_ = lease.asked_ns;
  confirmed_ns_ = std::max(confirmed_ns_, lease.answered_ns);
  report_now_ = true;
}

// ---- the lease

bool AgentService::leased() const {
  const auto lease = std::chrono::duration_cast<std::chrono::nanoseconds>(options_.times.lease()).count();
  return confirmed_ns_ > 0 && steady_now_ns() < confirmed_ns_ + lease;
}

void AgentService::watch_lease() {
  const auto lease = std::chrono::duration_cast<std::chrono::nanoseconds>(options_.times.lease()).count();
  agent_.extend_lease(confirmed_ns_ + lease);
  const bool now = leased();
  const bool lapsed = std::exchange(had_lease_, now) && !now;
  // What is sent later would tell the coordinator that this node still counts on it.
  if (lapsed && link_) link_->close("its lease has run out");
  if (lapsed)
    log::warning("the coordinator has not answered for {:.1f} s: this node's ranks are killed",
                 options_.times.lease().count());
  if (now || !agent_.begun()) return;
  agent_.fence();
  if (!agent_.alive()) agent_.clear();
}

// The coordinator, too, may count on this node for as long as a lease after the last report.
bool AgentService::bound() const {
  const auto lease = std::chrono::duration_cast<std::chrono::nanoseconds>(options_.times.lease()).count();
  return leased() || steady_now_ns() < told_ns_ + lease || agent_.alive();
}

void AgentService::follow_votes() {
  peers_.advance(view_, epoch_, bound());
  const auto& found = peers_.found();
  if (!found || (found->address == options_.address && found->port == options_.port)) return;
  log::info("looking for the coordinator on {} now", found->host);
  options_.address = found->address;
  options_.port = found->port;
  if (link_) link_->close("another coordinates");
}

void AgentService::report_if_due() {
  const auto now = Clock::now();
  const std::tuple state(agent_.epoch(), agent_.ready(), agent_.alive().has_value(), agent_.news());
  const auto interval = fast_ ? Clock::duration(fast_interval(view_.peers.size(), options_.times.heartbeat))
                              : std::chrono::duration_cast<Clock::duration>(options_.times.unasked());
  if (!link_ || !greeted_ || link_->closed()) return;
  // Reports must not queue where the link is slow: the lease is as old as the one that was heard last.
  const bool due = report_now_ || state != told_ || (now - reported_ >= interval && link_->all_arrived());
  if (!due) return;
  NodeReport report;
  report.asked_ns = steady_now_ns();
  report.answered_ns = lease_asked_ns_;
  report.ready = agent_.ready();
  report.alive = agent_.alive().value_or("");
  report.neighbours = peers_.heard();
  report.state = agent_.look();
  report.copies = agent_.copied();
  fast_ = !report.state.ranks.empty() && !has_gone_on(report.state.ranks);
  if (!link_->send(frame_of(NodeMessage::report, epoch_, encode(report, report.asked_ns)))) return;
  told_ns_ = report.asked_ns;
  report_now_ = false;
  told_ = state;
  reported_ = now;
}

}  // namespace trident
