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

}  // namespace

GemmChoices load_gemm_cache(const std::filesystem::path& path) {
  try {
    if (path.empty() || !std::filesystem::exists(path)) return {};
    return GemmChoices::parse(read_text(path));
  } catch (const std::exception& problem) {
    log::warning("the cache of matrix library choices {} is ignored: {}", path.string(), problem.what());
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
    log::warning("the cache of matrix library choices {} is not written: {}", path.string(), problem.what());
    return choices;
  }
}

}  // namespace trident
