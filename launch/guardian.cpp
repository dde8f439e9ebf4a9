#include "launch/guardian.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include "core/error.h"
#include "launch/unique_descriptor.h"

namespace trident {
namespace {

constexpr const char* kComponent = "launch/guardian";

std::optional<std::string> variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe)
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

UniqueDescriptor connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) throw Error(ErrorCode::config, kComponent, path + " is too long");
  path.copy(address.sun_path, path.size());
  UniqueDescriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket.is_open() || ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
    throw Error(ErrorCode::peer_lost, kComponent, "no agent at " + path + ": " + std::strerror(errno));
  return socket;
}

sigset_t guarded_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGCHLD, SIGTERM, SIGUSR1, SIGUSR2, SIGINT, SIGHUP}) sigaddset(&set, signal);
  return set;
}

void die_with_parent(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) std::_Exit(static_cast<int>(ErrorCode::peer_lost));
}

/// The guardian's life after the split.
class Guardian {
 public:
  Guardian(UniqueDescriptor agent, pid_t worker, int rank, int64_t epoch)
      : agent_(std::move(agent)), worker_(worker), rank_(rank), epoch_(epoch) {}

  [[noreturn]] void run() {
    say(GuardianMessage::Kind::started, 0);
    const sigset_t set = guarded_signals();
    const UniqueDescriptor signals(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    while (!ended_) {
      std::array<pollfd, 2> events{{{signals.get(), POLLIN, 0}, {agent_.get(), POLLIN, 0}}};
      if (::poll(events.data(), events.size(), -1) < 0 && errno != EINTR) break;
      if (events[0].revents != 0) take_signals(signals.get());
      if (events[1].revents != 0) kill_worker();
    }
    leave();
  }

 private:
  void say(GuardianMessage::Kind kind, int wait_status) const {
    const GuardianMessage message{.kind = kind,
                                  .rank = rank_,
                                  .worker = static_cast<int32_t>(worker_),
                                  .wait_status = wait_status,
                                  .epoch = epoch_};
    (void)::send(agent_.get(), &message, sizeof(message), MSG_NOSIGNAL);
  }

  void take_signals(int descriptor) {
    signalfd_siginfo info{};
    while (::read(descriptor, &info, sizeof(info)) == sizeof(info)) {
      const int signal = static_cast<int>(info.ssi_signo);
      if (signal == SIGCHLD) reap(WNOHANG);
      // The launcher passes these on. A terminal's Ctrl-C reaches the agent, which decides.
      if (signal == SIGTERM || signal == SIGUSR1 || signal == SIGUSR2) (void)::kill(worker_, signal);
    }
  }

  void reap(int flags) {
    int status = 0;
    if (ended_ || ::waitpid(worker_, &status, flags) != worker_) return;
    ended_ = true;
    status_ = status;
    say(GuardianMessage::Kind::ended, status);
  }

  // The agent is gone, or has closed the socket of a gang that it has given up.
  void kill_worker() {
    (void)::kill(worker_, SIGKILL);
    reap(0);
  }

  // The launcher must not see an end before the agent has dealt with it: it might end the other ranks by itself.
  [[noreturn]] void leave() const {
    pollfd agent{agent_.get(), POLLIN, 0};
    while (::poll(&agent, 1, -1) < 0 && errno == EINTR) continue;
    std::_Exit(WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_));
  }

  UniqueDescriptor agent_;
  pid_t worker_;
  int rank_;
  int64_t epoch_;
  bool ended_ = false;
  int status_ = 0;
};

}  // namespace

std::optional<Supervision> Supervision::detect() {
  const auto socket = variable("TRIDENT_AGENT"), heartbeats = variable("TRIDENT_HEARTBEAT");
  const auto epoch = variable("TRIDENT_EPOCH");
  if (!socket || !heartbeats || !epoch) return std::nullopt;
  Supervision found{*socket, *heartbeats, 0};
  const char* const end = epoch->data() + epoch->size();
  if (std::from_chars(epoch->data(), end, found.epoch).ptr != end || found.epoch < 1)
    throw Error(ErrorCode::config, kComponent, "TRIDENT_EPOCH=" + *epoch + " is no epoch", "unset it");
  return found;
}

void split_off_guardian(const Supervision& supervision, int rank) {
  die_with_parent(getppid());
  UniqueDescriptor agent = connect_to(supervision.socket);
  // Blocked in the worker too: a request to stop waits until StopSignals takes it.
  const sigset_t set = guarded_signals();
  sigprocmask(SIG_BLOCK, &set, nullptr);
  const pid_t guardian = getpid();
  const pid_t worker = ::fork();
  if (worker < 0) throw system_error(errno, kComponent, "cannot fork");
  if (worker > 0) Guardian(std::move(agent), worker, rank, supervision.epoch).run();
  die_with_parent(guardian);
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_UNBLOCK, &child, nullptr);
}

}  // namespace trident
