#include "launch/gang.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "launch/process_handle.h"

extern char** environ;  // NOLINT(readability-redundant-declaration)

namespace trident {
namespace {

constexpr const char* kComponent = "launch/gang";
constexpr std::chrono::seconds kKillTimeout{10};
constexpr int kLauncherEndMs = 200;

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

bool is_own_user(int socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return ::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.uid == geteuid();
}

std::vector<char*> c_strings(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

bool readable(int descriptor) {
  pollfd event{descriptor, POLLIN, 0};
  return ::poll(&event, 1, 0) > 0;
}

// Open MPI's parameters, unless the user has set them. Without the grace that mpirun gives ranks before it kills them a
// gang is gone at once; keepalive finds a node that is cut off in three seconds instead of eight minutes. On one
// machine, shared memory is the whole network.
constexpr std::pair<std::string_view, std::string_view> kParameters[] = {
    {"OMPI_MCA_pml", "ob1"},
    {"OMPI_MCA_btl", "self,vader"},
    {"OMPI_MCA_btl_vader_single_copy_mechanism", "none"},
    {"OMPI_MCA_odls_base_sigkill_timeout", "0"},
    {"OMPI_MCA_oob_tcp_keepalive_time", "1"},
    {"OMPI_MCA_oob_tcp_keepalive_intvl", "1"},
    {"OMPI_MCA_oob_tcp_keepalive_probes", "2"},
    {"OMPI_MCA_hwloc_base_binding_policy", "none"},
};

}  // namespace

Gang::Gang(GangOptions options, JobPlace place)
    : options_(std::move(options)),
      place_(std::move(place)),
      heartbeats_(HeartbeatMemory::create(place_.heartbeats(options_.epoch), options_.ranks, options_.epoch)),
      listener_(listen_at(place_.socket().string())),
      workers_(static_cast<size_t>(options_.ranks)) {
  std::filesystem::create_directory(place_.session(options_.epoch));
  start_launcher();
}

Gang::~Gang() {
  try {
    kill();
  } catch (...) {
    return;  // said before, by whoever killed
  }
  // It passes on what the ranks said last. Its session is removed below.
  pollfd event{launcher_process_.get(), POLLIN, 0};
  if (!launcher_status_) (void)::poll(&event, 1, kLauncherEndMs);
  kill_launcher();
  place_.remove_gang(options_.epoch);
}

std::vector<std::string> Gang::arguments() const {
  const std::string session = place_.session(options_.epoch).string();
  std::vector<std::string> words{"mpirun", "-n",    std::to_string(options_.ranks), "--mca", "orte_tmpdir_base",
                                 session,  "--mca", "btl_vader_backing_directory",  session};
  words.insert(words.end(), options_.mpirun.begin(), options_.mpirun.end());
  words.insert(words.end(), options_.command.begin(), options_.command.end());
  return words;
}

std::vector<std::string> Gang::environment() const {
  std::vector<std::string> variables;
  for (char** each = environ; *each != nullptr; ++each) variables.emplace_back(*each);
  for (const auto& [name, value] : kParameters) {
    const std::string start = std::string(name) + "=";
    const auto set = [&](const std::string& variable) { return variable.starts_with(start); };
    if (std::none_of(variables.begin(), variables.end(), set)) variables.push_back(start + std::string(value));
  }
  variables.push_back("TRIDENT_AGENT=" + place_.socket().string());
  variables.push_back("TRIDENT_HEARTBEAT=" + place_.heartbeats(options_.epoch));
  variables.push_back("TRIDENT_EPOCH=" + std::to_string(options_.epoch));
  variables.insert(variables.end(), options_.environment.begin(), options_.environment.end());
  return variables;
}

// A session of its own: a terminal's Ctrl-C is the agent's to deal with. Dies with the agent.
void Gang::start_launcher() {
  std::vector<std::string> words = arguments(), variables = environment();
  const std::vector<char*> argv = c_strings(words), envp = c_strings(variables);
  const pid_t agent = getpid();
  launcher_ = ::fork();
  if (launcher_ < 0) throw system_error(errno, kComponent, "cannot fork");
  if (launcher_ == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
    if (getppid() == agent && setsid() > 0) execvpe("mpirun", argv.data(), envp.data());
    std::_Exit(127);
  }
  launcher_process_ = open_process(launcher_);
}

void Gang::wait(int milliseconds, int other) {
  std::vector<pollfd> events{{other, POLLIN, 0}, {listener_.get(), POLLIN, 0}};
  if (!launcher_status_) events.push_back({launcher_process_.get(), POLLIN, 0});
  for (const auto& guardian : nameless_) events.push_back({guardian.get(), POLLIN, 0});
  for (const Worker& worker : workers_) {
    if (worker.guardian.is_open()) events.push_back({worker.guardian.get(), POLLIN, 0});
  }
  if (::poll(events.data(), events.size(), milliseconds) <= 0) return;
  if (events[1].revents != 0) accept_guardians();
  for (auto& guardian : nameless_) hear(guardian);
  std::erase_if(nameless_, [](const UniqueDescriptor& guardian) { return !guardian.is_open(); });
  for (Worker& worker : workers_) {
    const bool heard = worker.guardian.is_open();
    hear(worker.guardian);
    if (heard && !worker.guardian.is_open() && !worker.ended) lose(worker);
  }
  reap_launcher(WNOHANG);
}

void Gang::accept_guardians() {
  for (;;) {
    UniqueDescriptor guardian(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!guardian.is_open()) return;
    if (is_own_user(guardian.get())) nameless_.push_back(std::move(guardian));
  }
}

void Gang::hear(UniqueDescriptor& guardian) {
  while (guardian.is_open()) {
    GuardianMessage message;
    const ssize_t size = ::recv(guardian.get(), &message, sizeof(message), MSG_TRUNC);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    const bool known = size == sizeof(message) && message.magic == GuardianMessage::kMagic &&
                       message.epoch == options_.epoch && message.rank >= 0 && message.rank < options_.ranks;
    if (!known) return guardian.reset();  // gone, or of another epoch: its guardian ends its worker
    take(message, guardian);
  }
}

void Gang::take(const GuardianMessage& message, UniqueDescriptor& guardian) {
  Worker& worker = workers_[static_cast<size_t>(message.rank)];
  if (message.kind == GuardianMessage::Kind::started && worker.pid == 0) {
    worker.pid = message.worker;
    worker.process = open_process(message.worker);
    worker.guardian = std::move(guardian);
    ++started_;
  } else if (message.kind == GuardianMessage::Kind::ended && !worker.ended) {
    worker.ended = true;
    worker.wait_status = message.wait_status;
    worker.end_order = static_cast<int>(++ended_);
  }
}

void Gang::lose(Worker& worker) {
  worker.lost = worker.ended = true;
  worker.wait_status = SIGKILL;
  worker.end_order = static_cast<int>(++ended_);
}

void Gang::reap_launcher(int flags) {
  int status = 0;
  if (!launcher_status_ && ::waitpid(launcher_, &status, flags) == launcher_) launcher_status_ = status;
}

void Gang::signal(int number) const {
  for (const Worker& worker : workers_) {
    if (worker.process.is_open() && !worker.ended) send_signal(worker.process, number);
  }
}

void Gang::kill_launcher() {
  if (launcher_status_ || launcher_ <= 0) return;
  (void)::kill(launcher_, SIGKILL);
  reap_launcher(0);
}

bool Gang::gone(const Worker& worker) const { return !worker.process.is_open() || readable(worker.process.get()); }

void Gang::kill() {
  signal(SIGKILL);
  // Ranks that have not said hello yet do not come any more: they lose their launcher, and with it their lives.
  if (!all_started()) kill_launcher();
  const auto deadline = std::chrono::steady_clock::now() + kKillTimeout;
  for (const Worker& worker : workers_) {
    while (!gone(worker)) {
      if (std::chrono::steady_clock::now() > deadline)
        throw Error(ErrorCode::internal, kComponent,
                    fmt::format("process {} does not die: it may hang in the kernel", worker.pid),
                    "look at its /proc/PID/stack; this node must be started anew");
      pollfd event{worker.process.get(), POLLIN, 0};
      (void)::poll(&event, 1, 100);
    }
  }
  for (Worker& worker : workers_) worker.guardian.reset();
  nameless_.clear();
}

}  // namespace trident
