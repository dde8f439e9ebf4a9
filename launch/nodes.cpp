#include "launch/nodes.h"

#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "core/error.h"
#include "core/log.h"

namespace trident {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kFirstComing{60};
constexpr std::chrono::seconds kComingBack{3};
constexpr std::chrono::seconds kBetweenStarts{10};
constexpr int kPollMs = 50;
constexpr rlim_t kOtherDescriptors = 256;

// A connection to every node, where this user may have as many.
void allow_descriptors(size_t nodes) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = std::min<rlim_t>(limit.rlim_max, nodes + kOtherDescriptors);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = wanted;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

bool holds(const std::vector<uint32_t>& sorted, uint32_t node) {
  return std::binary_search(sorted.begin(), sorted.end(), node);
}

}  // namespace

Nodes::Nodes(Agent& self, int places) : self_(self), places_(places) {}

Nodes::Nodes(Agent& self, ClusterOptions options, JobSecret secret, WireListener listener, std::string address)
    : self_(self),
      places_(options.hosts[options.self].slots),
      options_(std::move(options)),
      secret_(std::move(secret)),
      listener_(std::move(listener)),
      own_{options_.self, options_.hosts[options_.self].name, std::move(address), listener_->port(), 0} {
  self_.exchange_copies(own_.address, *secret_);
  own_.copies_port = self_.copies_at().port;
  for (uint32_t i = 0; i < options_.hosts.size(); ++i) {
    if (i != options_.self) remote_.push_back(std::make_unique<RemoteNode>(i, options_.hosts[i], options_.times));
  }
  members_ = next_members_ = {options_.self};
  allow_descriptors(options_.hosts.size());
}

Nodes::~Nodes() {
  for (const auto& node : remote_) node->say_goodbye();
}

// ---- agents come

void Nodes::start_agent(RemoteNode& node) {
  if (options_.remote_shell.empty() || node.connected() || is_starting(node)) return;
  std::vector<std::string> words = options_.agent_command;
  words.insert(words.end(), {"--node", std::to_string(node.index()), "--coordinator", own_.address, "--port",
                             std::to_string(own_.port)});
  starting_.push_back(
      {&node, std::make_unique<RemoteStart>(options_.remote_shell, node.host(), words, *secret_), Clock::now()});
}

bool Nodes::is_starting(const RemoteNode& node) const {
  return std::any_of(starting_.begin(), starting_.end(), [&](const Starting& each) { return each.node == &node; });
}

// Until `missing` is true of no node.
void Nodes::wait_while(const std::function<bool(const RemoteNode&)>& missing, Clock::duration most) {
  const auto deadline = Clock::now() + most;
  const auto wanted = [&](const auto& node) { return missing(*node); };
  while (Clock::now() < deadline && std::any_of(remote_.begin(), remote_.end(), wanted)) {
    std::vector<pollfd> events;
    watch(events);
    (void)::poll(events.data(), events.size(), kPollMs);
    advance();
  }
}

void Nodes::gather() {
  for (const auto& node : remote_) start_agent(*node);
  tried_ = Clock::now();
  const bool by_themselves = options_.remote_shell.empty();
  wait_while([&](const RemoteNode& node) { return !node.connected() && (by_themselves || is_starting(node)); },
             kFirstComing);
  for (const auto& node : remote_) {
    if (node->connected()) continue;
    const std::string attempt = by_themselves ? "was it started there too: `srun --ntasks-per-node=1`"
                                              : fmt::format("try `{} {} true`", options_.remote_shell, node->host());
    throw Error(ErrorCode::peer_lost, "launch/nodes", "the agent on " + node->host() + " does not come",
                fmt::format("its own words, if any, are above; {}, and does that host reach this one at {}", attempt,
                            own_.address));
  }
}

void Nodes::gather_again() {
  for (const auto& node : remote_) {
    if (!node->silent()) start_agent(*node);
  }
  wait_while([&](const RemoteNode& node) { return !node.connected() && !node.silent() && is_starting(node); },
             kComingBack);
}

void Nodes::gather_voters(const NodeView& view, int64_t epoch) {
  epoch_ = epoch;
  members_ = view.members;
  std::sort(members_.begin(), members_.end());
  next_members_ = members_;
  tried_ = Clock::now();
  for (const auto& node : remote_) {
    if (node->index() == view.coordinator) start_agent(*node);
    if (!is_member(*node)) node->pass_over();
  }
  const auto expected = [&](const RemoteNode& node) {
    const auto known = [&](const NodePeer& peer) { return peer.node == node.index(); };
    const bool voter = std::any_of(view.peers.begin(), view.peers.end(), known) && node.index() != view.coordinator;
    return !node.connected() && (voter || is_starting(node));
  };
  wait_while(expected, kComingBack);
}

void Nodes::end_starts() {
  for (Starting& each : starting_) {
    const auto status = each.start->status();
    const bool failed = status.value_or(0) != 0;
    if (failed) log::warning("the remote shell to {} ended with {}", each.node->host(), *status);
    if (each.node->connected() || failed || Clock::now() - each.since > kFirstComing) each.start.reset();
  }
  std::erase_if(starting_, [](const Starting& each) { return each.start == nullptr; });
}

void Nodes::restart_agents() {
  end_starts();
  if (tried_ == Clock::time_point() || Clock::now() - tried_ < kBetweenStarts) return;
  tried_ = Clock::now();
  for (const auto& node : remote_) start_agent(*node);
}

void Nodes::accept() {
  for (WireLink& link : listener_->accept()) nameless_.push_back(std::move(link));
  for (WireLink& link : nameless_) {
    if (const auto frame = link.receive()) take_first(link, *frame);
  }
  std::erase_if(nameless_, [](const WireLink& link) { return link.closed(); });
}

void Nodes::take_first(WireLink& link, const Frame& frame) {
  const auto kind = static_cast<NodeMessage>(frame.kind);
  if (kind == NodeMessage::claim) (void)link.send(frame_of(NodeMessage::vote, epoch_, encode(NodeVote{false, own_})));
  const auto hello = kind == NodeMessage::hello ? decode_hello(frame.payload) : std::nullopt;
  if (!hello) return;
  for (const auto& node : remote_) {
    if (node->index() != hello->self.node) continue;
    if (hello->epoch > epoch_) return link.close("it has seen a newer epoch");
    node->set_view(view());
    node->connect(std::move(link), *hello, epoch_);
    log::info("the agent on {} has come", node->host());
    view_changed_ = true;
    return;
  }
  link.close("taken");
}

std::shared_ptr<const NodeView> Nodes::view() const {
  auto view = std::make_shared<NodeView>(NodeView{own_.node, {own_}, next_members_});
  for (const auto& node : remote_) {
    if (node->connected()) view->peers.push_back(node->peer());
  }
  return view;
}

// Of many that come at once, not everyone is told of every other one by one.
void Nodes::spread_view() {
  const auto now = Clock::now();
  if (!view_changed_ || now - view_sent_ < options_.times.heartbeat) return;
  view_changed_ = false;
  view_sent_ = now;
  const auto seen = view();
  for (const auto& node : remote_) {
    node->set_view(seen);
    node->send_view(epoch_);
  }
}

// ---- ranks

int Nodes::places() const {
  int sum = places_;
  for (const auto& node : remote_) sum += node->usable() ? node->places() : 0;
  return sum;
}

std::vector<GangShare> Nodes::share_out(int ranks, int64_t epoch) {
  epoch_ = epoch;
  std::vector<GangShare> shares;
  const auto give = [&](Node& node, int places) {
    const int given = std::min(ranks, places);
    if (given > 0) shares.push_back({&node, given});
    ranks -= given;
  };
  next_members_ = {own_.node};
  give(self_, remote_.empty() ? ranks : places_);
  for (const auto& node : remote_) {
    if (!node->usable()) continue;
    if (ranks > 0) next_members_.push_back(node->index());
    give(*node, node->places());
  }
  std::sort(next_members_.begin(), next_members_.end());
  // Those with ranks are told when they begin.
  const auto seen = view();
  for (const auto& node : remote_) {
    node->set_view(seen);
    if (!is_member(*node)) node->send_view(epoch);
  }
  shared_out_ns_ = steady_now_ns();
  return shares;
}

void Nodes::commit_members() {
  if (agreed_ns(members_) < shared_out_ns_) return;
  members_ = next_members_;
  for (const auto& node : remote_) {
    if (!is_member(*node)) node->pass_over();
  }
}

void Nodes::watch(std::vector<pollfd>& events) const {
  self_.watch(events);
  if (!listener_) return;
  events.push_back({listener_->descriptor(), POLLIN, 0});
  for (const WireLink& link : nameless_) events.push_back({link.descriptor(), link.events(), 0});
  for (const Starting& each : starting_) {
    if (!each.node->connected()) events.push_back({each.start->descriptor(), POLLIN, 0});
  }
  for (const auto& node : remote_) node->watch(events);
}

int Nodes::patience(int milliseconds) const {
  const auto now = std::chrono::steady_clock::now();
  for (const auto& node : remote_) {
    if (!node->connected()) continue;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(node->next_ask() - now).count();
    milliseconds = std::min(milliseconds, static_cast<int>(std::max<int64_t>(left, 0)));
  }
  return milliseconds;
}

void Nodes::advance() {
  self_.advance();
  if (!listener_) return;
  accept();
  for (const auto& node : remote_) node->advance();
  spread_view();
  restart_agents();
  renew_own_lease();
}

void Nodes::ask() {
  for (const auto& node : remote_) node->ask();
}

void Nodes::remove_snapshots() {
  self_.remove_snapshots();
  for (const auto& node : remote_) node->remove_snapshots();
}

// ---- nodes where ranks fail

RemoteNode* Nodes::find(const std::string& host) const {
  const auto found =
      std::find_if(remote_.begin(), remote_.end(), [&](const auto& node) { return node->host() == host; });
  return found == remote_.end() ? nullptr : found->get();
}

void Nodes::prove_members() {
  for (const auto& node : remote_) {
    if (is_member(*node)) node->prove();
  }
}

bool Nodes::proven(const std::string& host) const {
  const RemoteNode* node = find(host);
  return node == nullptr || node->proven();
}

bool Nodes::set_aside(const std::string& host, bool aside) {
  RemoteNode* node = find(host);
  if (node != nullptr) node->set_aside(aside);
  return node != nullptr;
}

// ---- nodes go

bool Nodes::is_member(const RemoteNode& node) const { return holds(next_members_, node.index()); }

bool Nodes::answered_since(int64_t steady_ns) const {
  return std::all_of(remote_.begin(), remote_.end(),
                     [&](const auto& node) { return !is_member(*node) || node->answered_ns() >= steady_ns; });
}

// Of an even split the coordinator's half goes on; others need more than half to take over.
bool Nodes::may_go_on(const std::vector<uint32_t>& members) const {
  size_t seen = 1;
  for (const auto& node : remote_) {
    if (holds(members, node->index()) && !node->lost()) ++seen;
  }
  return 2 * seen >= members.size();
}

// When at least half of the members were asked whether this is the coordinator, and have answered.
int64_t Nodes::agreed_ns(const std::vector<uint32_t>& members) const {
  const size_t needed = (members.size() + 1) / 2;  // this one too
  if (needed <= 1) return std::numeric_limits<int64_t>::max();
  std::vector<int64_t> answers;
  for (const auto& node : remote_) {
    if (holds(members, node->index())) answers.push_back(node->answered_ns());
  }
  std::sort(answers.rbegin(), answers.rend());
  return answers.size() < needed - 1 ? 0 : answers[needed - 2];
}

int64_t Nodes::lease_of(const std::vector<uint32_t>& members) const {
  const auto lease = std::chrono::duration_cast<std::chrono::nanoseconds>(options_.times.lease()).count();
  const int64_t agreed = agreed_ns(members);
  return agreed == std::numeric_limits<int64_t>::max() ? agreed : agreed + lease;
}

void Nodes::renew_own_lease() { self_.extend_lease(std::min(lease_of(members_), lease_of(next_members_))); }

std::string Nodes::heard_by_others(const RemoteNode& lost) const {
  for (const auto& node : remote_) {
    if (node.get() == &lost || node->lost()) continue;
    for (const auto& [neighbour, ago] : node->neighbours()) {
      if (neighbour != lost.index()) continue;
      const bool heard = ago < options_.times.lease().count();
      return "; " + node->host() +
             (heard ? " still hears it: the link between it and the coordinator is cut"
                    : " does not hear it either: it is off, or cut off");
    }
  }
  return {};
}

std::optional<LostNodes> Nodes::confirm() {
  const int64_t asked = steady_now_ns();
  const auto missing = [&](const RemoteNode&) { return agreed_ns(members_) < asked; };
  ask();
  wait_while(missing, std::chrono::duration_cast<Clock::duration>(options_.times.timeout));
  return agreed_ns(members_) < asked ? std::optional(too_few()) : std::nullopt;
}

// Too few have answered for so long that the others may have chosen another coordinator.
bool Nodes::outvoted() const {
  const int64_t timeout = std::chrono::duration_cast<std::chrono::nanoseconds>(options_.times.timeout).count();
  return several() && std::max(agreed_ns(members_), shared_out_ns_) < steady_now_ns() - timeout;
}

bool Nodes::any_lost() const {
  return std::any_of(remote_.begin(), remote_.end(),
                     [&](const auto& node) { return is_member(*node) && node->lost(); });
}

std::optional<LostNodes> Nodes::give_up_lost() {
  std::optional<LostNodes> found;
  const bool majority = may_go_on(members_) && may_go_on(next_members_);
  for (const auto& node : remote_) {
    const auto why = is_member(*node) ? node->lost() : std::nullopt;
    if (!why) continue;
    if (!found) found = {node->host(), {}, {}, majority};
    found->what += (found->what.empty() ? "node " : " and node ") + node->host() + " is lost";
    found->evidence += (found->evidence.empty() ? "" : "; ") + *why + heard_by_others(*node);
  }
  if (!found && outvoted()) found = too_few();
  for (const auto& node : remote_) {
    if (node->connected() ? node->lost().has_value() : is_member(*node)) node->evict();
  }
  if (found)
    std::erase_if(next_members_, [&](uint32_t member) {
      return std::any_of(remote_.begin(), remote_.end(),
                         [&](const auto& n) { return n->index() == member && !n->connected(); });
    });
  return found;
}

}  // namespace trident
