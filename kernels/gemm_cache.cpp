#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/log.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cuda/tune_gemms.h"
#include "kernels/gemm_tuning.h"

namespace trident {
namespace {

constexpr uintmax_t kLargestCache = uintmax_t{16} << 20;

/// Holds `path` locked against other processes; a file of its own, because the cache itself is replaced.
class FileLock {
 public:
  explicit FileLock(const std::filesystem::path& path)
      : descriptor_(open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666)) {
    if (descriptor_ < 0) throw system_error(errno, "kernels/gemm_cache", path.string() + " cannot be opened");
    while (flock(descriptor_, LOCK_EX) != 0) {
      if (errno == EINTR) continue;
      const int reason = errno;
      close(descriptor_);
      throw system_error(reason, "kernels/gemm_cache", path.string() + " cannot be locked");
    }
  }
  ~FileLock() { close(descriptor_); }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 private:
  int descriptor_;
};

std::string read_text(const std::filesystem::path& path) {
  if (!std::filesystem::is_regular_file(path) || std::filesystem::file_size(path) > kLargestCache) {
    throw Error(ErrorCode::bad_data, "kernels/gemm_cache", path.string() + " is no regular file below 16 MiB");
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw Error(ErrorCode::io, "kernels/gemm_cache", path.string() + " cannot be read");
  return text.str();
}

uint64_t fnv1a(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

std::filesystem::path cache_folder() {
  for (const auto& [variable, suffix] : {std::pair{"XDG_CACHE_HOME", ""}, std::pair{"HOME", ".cache"}}) {
    const char* value = std::getenv(variable);
    if (value != nullptr && *value == '/') return std::filesystem::path(value) / suffix / "trident";
  }
  return {};
}

}  // namespace

std::filesystem::path gemm_cache_path(Device device) {
  const auto folder = cache_folder();
  if (folder.empty()) return {};
  const std::string identity = device.kind == DeviceKind::cuda ? cuda::gemm_identity(device) : cpu::gemm_identity();
  return folder / fmt::format("gemm-{:016x}.json", fnv1a(identity));
}

GemmChoices load_gemm_cache(const std::filesystem::path& path) {
  try {
    if (path.empty() || !std::filesystem::exists(path)) return {};
    return GemmChoices::parse(read_text(path));
  } catch (const std::exception& problem) {
    log::warning("the cache of choices of matrix products {} is ignored: {}", path.string(), problem.what());
    return {};
  }
}

GemmChoices store_gemm_cache(const std::filesystem::path& path, const GemmChoices& choices) {
  if (path.empty()) return choices;
  try {
    if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
    const FileLock lock(path.string() + ".lock");
    const GemmChoices before = load_gemm_cache(path);
    GemmChoices merged = before;
    merged.add_missing(choices);
    if (merged != before) write_file_atomically(path, merged.to_json());
    return merged;
  } catch (const std::exception& problem) {
    log::warning("the cache of choices of matrix products {} is not written: {}", path.string(), problem.what());
    return choices;
  }
}

}  // namespace trident
