#include "launch/launcher.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "launch/process_handle.h"

extern char** environ;  // NOLINT(readability-redundant-declaration)

namespace trident {
namespace {

constexpr int kLastWordsMs = 200;

std::vector<char*> c_strings(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (std::string& text : texts) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Open MPI's parameters, unless the user has set them. Without the grace that mpirun gives ranks before it kills them a
// gang is gone at once; keepalive finds a node that is cut off in three seconds instead of eight minutes.
constexpr std::pair<std::string_view, std::string_view> kParameters[] = {
    {"OMPI_MCA_pml", "ob1"},
    {"OMPI_MCA_btl_vader_single_copy_mechanism", "none"},
    {"OMPI_MCA_odls_base_sigkill_timeout", "0"},
    {"OMPI_MCA_oob_tcp_keepalive_time", "1"},
    {"OMPI_MCA_oob_tcp_keepalive_intvl", "1"},
    {"OMPI_MCA_oob_tcp_keepalive_probes", "2"},
    {"OMPI_MCA_hwloc_base_binding_policy", "none"},
};

void set_default(std::vector<std::string>& variables, std::string_view name, std::string_view value) {
  const std::string start = std::string(name) + "=";
  const auto set = [&](const std::string& variable) { return variable.starts_with(start); };
  if (std::none_of(variables.begin(), variables.end(), set)) variables.push_back(start + std::string(value));
}

// By which ranks find their node's agent: the names are the same on every node.
std::vector<std::string> supervision(const LauncherOptions& options, const JobPlace& place) {
  std::vector<std::string> variables{"TRIDENT_AGENT=" + place.socket().string(),
                                     "TRIDENT_HEARTBEAT=" + place.heartbeats(options.epoch),
                                     "TRIDENT_EPOCH=" + std::to_string(options.epoch)};
  variables.insert(variables.end(), options.environment.begin(), options.environment.end());
  return variables;
}

std::vector<std::string> environment(const LauncherOptions& options, const JobPlace& place) {
  std::vector<std::string> variables;
  for (char** each = environ; *each != nullptr; ++each) variables.emplace_back(*each);
  for (const auto& [name, value] : kParameters) set_default(variables, name, value);
  // On one machine, shared memory is the whole network.
  set_default(variables, "OMPI_MCA_btl", options.hosts.size() > 1 ? "self,vader,tcp" : "self,vader");
  const auto own = supervision(options, place);
  variables.insert(variables.end(), own.begin(), own.end());
  return variables;
}

std::vector<std::string> arguments(const LauncherOptions& options, const JobPlace& place) {
  const std::string session = place.session(options.epoch).string();
  std::vector<std::string> words{"mpirun", "-n",    std::to_string(options.ranks), "--mca", "orte_tmpdir_base",
                                 session,  "--mca", "btl_vader_backing_directory", session};
  std::string hosts;
  for (const auto& [host, ranks] : options.hosts)
    hosts += fmt::format("{}{}:{}", hosts.empty() ? "" : ",", host, ranks);
  if (!hosts.empty()) words.insert(words.end(), {"--host", hosts, "--map-by", "slot", "--mca", "ras", "^slurm"});
  if (!options.remote_shell.empty())
    words.insert(words.end(), {"--mca", "plm", "rsh", "--mca", "plm_rsh_agent", options.remote_shell});
  for (const std::string& variable : supervision(options, place))
    words.insert(words.end(), {"-x", variable.substr(0, variable.find('='))});
  words.insert(words.end(), options.mpirun.begin(), options.mpirun.end());
  words.insert(words.end(), options.command.begin(), options.command.end());
  return words;
}

}  // namespace

// A session of its own: a terminal's Ctrl-C is the coordinator's to deal with.
Launcher::Launcher(const LauncherOptions& options, const JobPlace& place) {
  std::vector<std::string> words = arguments(options, place), variables = environment(options, place);
  const std::vector<char*> argv = c_strings(words), envp = c_strings(variables);
  const pid_t parent = getpid();
  pid_ = ::fork();
  if (pid_ < 0) throw system_error(errno, "launch/launcher", "cannot fork");
  if (pid_ == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)::dup2(::open("/dev/null", O_RDONLY), STDIN_FILENO);
    if (getppid() == parent && setsid() > 0) execvpe("mpirun", argv.data(), envp.data());
    std::_Exit(127);
  }
  process_ = open_process(pid_);
}

Launcher::~Launcher() {
  if (!status()) wait(kLastWordsMs);
  kill();
}

std::optional<int> Launcher::status() {
  reap(WNOHANG);
  return status_;
}

void Launcher::wait(int milliseconds) const {
  pollfd event{process_.get(), POLLIN, 0};
  if (!status_) (void)::poll(&event, 1, milliseconds);
}

void Launcher::reap(int flags) {
  int status = 0;
  if (!status_ && ::waitpid(pid_, &status, flags) == pid_) status_ = status;
}

void Launcher::kill() {
  if (status_) return;
  (void)::kill(pid_, SIGKILL);
  reap(0);
}

}  // namespace trident
