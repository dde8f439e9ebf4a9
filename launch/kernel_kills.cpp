#include "launch/kernel_kills.h"

#include <fstream>
#include <optional>
#include <string>

namespace trident {
namespace {

namespace fs = std::filesystem;

std::optional<int64_t> count_in(const fs::path& file) {
  std::ifstream stream(file);
  std::string key;
  for (int64_t value = 0; stream >> key >> value;) {
    if (key == "oom_kill") return value;
  }
  return std::nullopt;
}

// The group's own counts, or those of the nearest group above it that has some: not every group has a memory
// controller, and in a container what is mounted may begin further down than the path.
std::optional<fs::path> find_counts(const fs::path& mount, const std::string& group, const char* name) {
  fs::path below = fs::path(group).lexically_normal().relative_path();
  for (;; below = below.parent_path()) {
    fs::path file = mount / below / name;
    if (count_in(file)) return file;
    if (below.empty()) return std::nullopt;
  }
}

/// The process's groups, by hierarchy.
struct Groups {
  std::optional<std::string> memory;   ///< of the one that has the memory controller, in version 1
  std::optional<std::string> unified;  ///< version 2's
};

// Lines as `4:memory:/job` and `0::/job`.
Groups groups_of(const fs::path& file) {
  Groups groups;
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    const size_t controllers = line.find(':'), group = line.find(':', controllers + 1);
    if (controllers == std::string::npos || group == std::string::npos) continue;
    const std::string names = "," + line.substr(controllers + 1, group - controllers - 1) + ",";
    if (names.find(",memory,") != std::string::npos) groups.memory = line.substr(group + 1);
    if (line.starts_with("0::")) groups.unified = line.substr(group + 1);
  }
  return groups;
}

fs::path counts_of(const Groups& groups, const fs::path& mount) {
  if (groups.memory) {
    if (auto file = find_counts(mount / "memory", *groups.memory, "memory.oom_control")) return *file;
  }
  if (!groups.unified) return {};
  if (auto file = find_counts(mount, *groups.unified, "memory.events")) return *file;
  return find_counts(mount / "unified", *groups.unified, "memory.events").value_or(fs::path());
}

}  // namespace

KernelKills::KernelKills(pid_t process, const CgroupFolders& folders)
    : file_(counts_of(groups_of(folders.proc / std::to_string(process) / "cgroup"), folders.mount)),
      before_(count_in(file_).value_or(0)) {}

bool KernelKills::any() const { return count_in(file_).value_or(0) > before_; }

}  // namespace trident
