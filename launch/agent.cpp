#include "launch/agent.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <utility>

#include "core/error.h"
#include "launch/process_facts.h"
#include "launch/process_handle.h"
#include "launch/shared_memory_room.h"
#include "train/metrics/run_directory.h"

namespace trident {
namespace {

constexpr const char* kComponent = "launch/agent";
constexpr double kLookCloser = 1.0;  // seconds without a heartbeat
constexpr std::chrono::seconds kOwnSleep{1};

UniqueDescriptor listen_at(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) throw Error(ErrorCode::internal, kComponent, path + " is too long");
  path.copy(address.sun_path, path.size());
  UniqueDescriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  (void)::unlink(path.c_str());
  if (!socket.is_open() || ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 ||
      ::listen(socket.get(), SOMAXCONN) != 0)
    throw system_error(errno, kComponent, "cannot listen at " + path);
  return socket;
}

std::optional<ucred> peer_of(const UniqueDescriptor& socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  const bool known = ::getsockopt(socket.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0;
  return known ? std::optional(peer) : std::nullopt;
}

bool readable(const UniqueDescriptor& descriptor) {
  pollfd event{descriptor.get(), POLLIN, 0};
  return ::poll(&event, 1, 0) > 0;
}

}  // namespace

Agent::Agent(JobPlace place) : place_(std::move(place)), host_(host_name()), fencing_(true) {
  place_.create();
  listener_ = listen_at(place_.socket().string());
}

Agent::~Agent() {
  signal(SIGKILL);
  place_.remove();
}

void Agent::begin(const NodeShare& share) {
  TRIDENT_CHECK(share.epoch > share_.epoch && !alive());
  if (const auto lack = lack_of_shared_memory(shared_memory_to_start(share.ranks)))
    throw Error(ErrorCode::io, kComponent, fmt::format("{} for {} ranks", *lack, share.ranks), kMoreSharedMemory);
  if (exchange_) exchange_->pause();  // ranks go on from what memory holds
  heartbeats_.emplace(HeartbeatMemory::create(place_.heartbeats(share.epoch), share.ranks, share.epoch));
  heartbeats_->extend_lease(lease_ns_);
  std::filesystem::create_directory(place_.session(share.epoch));
  share_ = share;
  fencing_ = false;
  workers_ = std::vector<Worker>(static_cast<size_t>(share.ranks));
  last_look_ = Clock::now();
  for (Worker& worker : workers_) worker.last_beat = last_look_;
  daemon_.reset();
  ends_ = 0;
}

void Agent::extend_lease(int64_t steady_ns) {
  lease_ns_ = steady_ns;
  if (heartbeats_) heartbeats_->extend_lease(steady_ns);
}

void Agent::signal(int number) {
  for (const Worker& worker : workers_) {
    if (worker.process.is_open() && !worker.ended) send_signal(worker.process, number);
  }
}

void Agent::fence() {
  fencing_ = true;
  signal(SIGKILL);
  if (!alive()) let_go_of_guardians();
}

std::optional<std::string> Agent::alive() const {
  for (const Worker& worker : workers_) {
    if (worker.process.is_open() && !readable(worker.process))
      return fmt::format("process {} on {}", worker.pid, host_);
  }
  return std::nullopt;
}

// They have waited for it: mpirun must not see an end before the coordinator has dealt with it.
void Agent::let_go_of_guardians() {
  for (Worker& worker : workers_) worker.guardian.reset();
  nameless_.clear();
}

void Agent::clear() {
  // One that is cut off from mpirun waits for it for minutes.
  if (daemon_.is_open()) send_signal(daemon_, SIGKILL);
  heartbeats_.reset();
  place_.remove_gang(share_.epoch);
}

// ---- snapshots

void Agent::exchange_copies(const std::string& address, const JobSecret& secret) {
  if (!exchange_) exchange_ = std::make_unique<SnapshotExchange>(place_, address, secret);
}

void Agent::remove_snapshots() {
  place_.remove_snapshots();
  if (exchange_) exchange_->remove_snapshots();
}

CopyAddress Agent::copies_at() const { return exchange_ ? exchange_->address() : CopyAddress{}; }

void Agent::copy(const CopyOrder& order) {
  if (exchange_ && order.epoch == share_.epoch && !fencing_) exchange_->follow(order);
}

CopyState Agent::copied() const { return exchange_ ? exchange_->state() : CopyState{}; }

// ---- guardians

void Agent::watch(std::vector<pollfd>& events) const {
  events.push_back({listener_.get(), POLLIN, 0});
  if (exchange_) events.push_back({exchange_->descriptor(), POLLIN, 0});
  for (const auto& guardian : nameless_) events.push_back({guardian.get(), POLLIN, 0});
  for (const Worker& worker : workers_) {
    if (worker.guardian.is_open()) events.push_back({worker.guardian.get(), POLLIN, 0});
    const bool dying = fencing_ && worker.process.is_open() && !readable(worker.process);
    if (dying) events.push_back({worker.process.get(), POLLIN, 0});
  }
}

void Agent::advance() {
  if (exchange_ && exchange_->looked()) ++news_;
  accept_guardians();
  for (auto& guardian : nameless_) hear(guardian);
  std::erase_if(nameless_, [](const UniqueDescriptor& guardian) { return !guardian.is_open(); });
  for (Worker& worker : workers_) {
    const bool heard = worker.guardian.is_open();
    hear(worker.guardian);
    if (!heard || worker.guardian.is_open() || worker.ended) continue;
    worker.lost = true;
    end(worker, SIGKILL);
  }
  if (fencing_ && !alive()) let_go_of_guardians();
}

void Agent::accept_guardians() {
  for (;;) {
    UniqueDescriptor guardian(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!guardian.is_open()) return;
    const auto peer = peer_of(guardian);
    if (peer && peer->uid == geteuid()) nameless_.push_back(std::move(guardian));
  }
}

void Agent::hear(UniqueDescriptor& guardian) {
  while (guardian.is_open()) {
    GuardianMessage message;
    const ssize_t size = ::recv(guardian.get(), &message, sizeof(message), MSG_TRUNC);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    const bool known = size == sizeof(message) && message.magic == GuardianMessage::kMagic &&
                       message.epoch == share_.epoch && message.rank >= share_.first_rank &&
                       message.rank < share_.first_rank + share_.ranks;
    if (!known) return guardian.reset();  // gone, or of another epoch: its guardian ends its worker
    take(message, guardian);
  }
}

void Agent::take(const GuardianMessage& message, UniqueDescriptor& guardian) {
  Worker& worker = workers_[static_cast<size_t>(message.rank - share_.first_rank)];
  if (message.kind == GuardianMessage::Kind::started) {
    if (worker.pid != 0 || fencing_) return guardian.reset();
    if (const auto peer = peer_of(guardian); peer && !daemon_.is_open()) daemon_ = open_process(parent_of(peer->pid));
    worker.pid = message.worker;
    worker.process = open_process(message.worker);
    worker.kernel_kills = KernelKills(message.worker);
    worker.guardian = std::move(guardian);
    ++news_;
  } else if (message.kind == GuardianMessage::Kind::ended && !worker.ended) {
    end(worker, message.wait_status);
  }
}

void Agent::end(Worker& worker, int wait_status) {
  worker.ended = true;
  worker.wait_status = wait_status;
  worker.end_order = ++ends_;
  ++news_;
}

// ---- ranks

NodeState Agent::look() {
  const auto now = Clock::now();
  // If this process slept, the ranks' silence proves nothing.
  const auto gap = now - std::exchange(last_look_, now);
  const auto slept = gap > kOwnSleep ? gap : Clock::duration::zero();
  NodeState state{share_, {}};
  for (int i = 0; i < share_.ranks; ++i) state.ranks.push_back(look_at(i, now, slept));
  return state;
}

RankState Agent::look_at(int index, Clock::time_point now, Clock::duration slept) {
  Worker& worker = workers_[static_cast<size_t>(index)];
  RankState seen;
  seen.rank = share_.first_rank + index;
  seen.pid = worker.pid;
  seen.host = host_;
  if (heartbeats_) seen.record = heartbeats_->read(index);
  seen.ended = worker.ended;
  seen.wait_status = worker.wait_status;
  seen.end_order = worker.end_order;
  seen.lost = worker.lost;
  seen.daemon_gone = daemon_.is_open() && readable(daemon_);
  seen.kernel_killed = worker.ended && worker.kernel_kills.any();
  if (std::exchange(worker.beats, seen.record.beats) != seen.record.beats) worker.last_beat = now;
  worker.last_beat += slept;
  seen.idle_s = std::max(0.0, std::chrono::duration<double>(now - worker.last_beat).count());
  seen.stopped = seen.idle_s > kLookCloser && worker.pid > 0 && is_stopped(static_cast<pid_t>(worker.pid));
  return seen;
}

}  // namespace trident
