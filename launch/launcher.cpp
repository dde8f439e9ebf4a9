#include "launch/launcher.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "train/metrics/events_file.h"

extern char** environ;  // NOLINT(readability-redundant-declaration)

namespace trident {
namespace {

constexpr const char* kComponent = "launch/launcher";
constexpr int kLastWordsMs = 200;

// The descriptor to which a process of Open MPI writes what it says itself; what ranks say is passed on as ever.
constexpr std::string_view kWordsTo = "OPAL_OUTPUT_STDERR_FD";

// Open MPI's parameters, unless the user has set them. Without the grace that mpirun gives ranks before it kills them a
// gang is gone at once. Keepalive ends the daemon of a node that is cut off in ten seconds instead of eight minutes;
// fewer probes would end it where a link only loses frames: who is lost, agents find out.
constexpr std::pair<std::string_view, std::string_view> kParameters[] = {
    {"OMPI_MCA_pml", "ob1"},
    {"OMPI_MCA_btl_vader_single_copy_mechanism", "none"},
    {"OMPI_MCA_odls_base_sigkill_timeout", "0"},
    {"OMPI_MCA_oob_tcp_keepalive_time", "1"},
    {"OMPI_MCA_oob_tcp_keepalive_intvl", "1"},
    {"OMPI_MCA_oob_tcp_keepalive_probes", "9"},
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

std::vector<std::string> environment(const LauncherOptions& options, const JobPlace& place, int words) {
  std::vector<std::string> variables;
  for (char** each = environ; *each != nullptr; ++each) variables.emplace_back(*each);
  for (const auto& [name, value] : kParameters) set_default(variables, name, value);
  // On one machine, shared memory is the whole network.
  set_default(variables, "OMPI_MCA_btl", options.hosts.size() > 1 ? "self,vader,tcp" : "self,vader");
  set_default(variables, kWordsTo, std::to_string(words));
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
  words.insert(words.end(), {"-x", std::string(kWordsTo) + "=2"});
  words.insert(words.end(), options.mpirun.begin(), options.mpirun.end());
  words.insert(words.end(), options.command.begin(), options.command.end());
  return words;
}

off_t size_of(const UniqueDescriptor& file) { return ::lseek(file.get(), 0, SEEK_END); }

UniqueDescriptor open_words(const std::filesystem::path& path, int64_t epoch) {
  UniqueDescriptor file(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644));
  if (!file.is_open()) throw system_error(errno, kComponent, "cannot open " + path.string());
  const std::string line = fmt::format("{} epoch {}\n", utc_timestamp(std::chrono::system_clock::now()), epoch);
  (void)!::write(file.get(), line.data(), line.size());
  return file;
}

}  // namespace

Launcher::Launcher(const LauncherOptions& options, const JobPlace& place)
    : words_path_(options.words), words_(open_words(options.words, options.epoch)), said_(size_of(words_)) {
  process_.emplace(ChildOptions{.words = arguments(options, place),
                                .environment = environment(options, place, words_.get()),
                                .kept = words_.get(),
                                .dies_with_parent = true},
                   kComponent);
}

Launcher::~Launcher() {
  if (!status()) wait(kLastWordsMs);
}

void Launcher::wait(int milliseconds) const {
  pollfd event{descriptor(), POLLIN, 0};
  if (event.fd >= 0) (void)::poll(&event, 1, milliseconds);
}

std::string Launcher::words() {
  std::ifstream file(words_path_, std::ios::binary);
  file.seekg(said_);
  std::string text(std::istreambuf_iterator<char>(file), {});
  said_ += static_cast<off_t>(text.size());
  return text;
}

}  // namespace trident
