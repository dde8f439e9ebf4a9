#include "train/metrics/run_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <sstream>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"
#include "train/metrics/metrics_file.h"

namespace trident {
namespace {

constexpr const char* component = "train/run_directory";
constexpr const char* remedy = "check that run.dir can be written and has room";

std::filesystem::path checked_root(const std::filesystem::path& dir, std::string_view name) {
  const bool plain = !name.empty() && name != "." && name != ".." && name.find('/') == std::string_view::npos &&
                     name.find('\0') == std::string_view::npos;
  if (!plain) {
    throw Error(ErrorCode::config, component, fmt::format("run.name is \"{}\", expected a plain folder name", name),
                "use letters, digits, - and _");
  }
  return dir / name;
}

}  // namespace

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0 || name[0] == '\0') return "localhost";
  return name.data();
}

std::int64_t process_id() { return ::getpid(); }

RunDirectory::RunDirectory(const std::filesystem::path& dir, std::string_view name) : root_(checked_root(dir, name)) {}

RunDirectory::RunDirectory(std::filesystem::path root) : root_(std::move(root)) {}

void RunDirectory::create() const {
  for (const auto& folder : {root_, logs(), tensorboard(), trace(), checkpoints()}) {
    std::error_code failure;
    std::filesystem::create_directories(folder, failure);
    if (failure) throw system_error(failure.value(), component, "cannot create folder " + folder.string(), remedy);
  }
}

bool RunDirectory::exists() const {
  std::error_code ignored;
  return std::filesystem::is_directory(root_, ignored);
}

int RunDirectory::previous_attempt() const { return std::max(highest_attempt(metrics()), highest_attempt(events())); }

void RunDirectory::write_config(std::string_view yaml) const { write_file_atomically(config(), yaml); }

std::string RunDirectory::read_config() const {
  const std::ifstream file(config(), std::ios::binary);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  return text.str();
}

std::filesystem::path RunDirectory::rank_log(int rank) const { return logs() / fmt::format("rank_{:05}.log", rank); }

std::filesystem::path RunDirectory::checkpoint(std::int64_t step) const {
  return checkpoints() / fmt::format("step_{:08}", step);
}

}  // namespace trident
