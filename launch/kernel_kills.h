#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>

namespace trident {

/// Where the kernel shows control groups.
struct CgroupFolders {
  std::filesystem::path proc = "/proc";
  std::filesystem::path mount = "/sys/fs/cgroup";
};

/// Processes of a process's control group that the kernel kills for want of memory, from construction on: as the memory
/// controller counts them in version 1, in version 2, or in version 1 beside a version 2 that has no such controller.
class KernelKills {
 public:
  KernelKills() = default;  ///< of no group
  explicit KernelKills(pid_t process, const CgroupFolders& folders = {});

  /// False, too, where the kernel does not say. Still right once the process is gone.
  [[nodiscard]] bool any() const;

 private:
  std::filesystem::path file_;
  int64_t before_ = 0;
};

}  // namespace trident
