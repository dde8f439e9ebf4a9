#include "checkpoint/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "core/error.h"

namespace trident {
namespace {

constexpr auto kComponent = "checkpoint/atomic_file";
constexpr auto kRemedy = "check free space and permissions";

std::filesystem::path directory_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  temporary_ = directory_of(path_) / fmt::format(".{}.tmp.{}", path_.filename().string(), ::getpid());
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
  if (descriptor_ < 0) throw system_error(errno, kComponent, temporary_.string() + ": cannot create", kRemedy);
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void AtomicFile::write(const void* data, size_t size) {
  TRIDENT_CHECK(descriptor_ >= 0, "write after commit");
  constexpr size_t kMostAtOnce = size_t{1} << 30;  // Linux writes at most 2 GiB a call
  const char* next = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::write(descriptor_, next, std::min(size, kMostAtOnce));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw system_error(errno, kComponent, temporary_.string() + ": cannot write", kRemedy);
    next += written;
    size -= static_cast<size_t>(written);
  }
}

void AtomicFile::commit() {
  TRIDENT_CHECK(descriptor_ >= 0, "commit twice");
  if (::fsync(descriptor_) != 0) throw system_error(errno, kComponent, temporary_.string() + ": cannot sync", kRemedy);
  const int closed = ::close(std::exchange(descriptor_, -1));
  if (closed != 0) throw system_error(errno, kComponent, temporary_.string() + ": cannot close", kRemedy);
  if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
    throw system_error(errno, kComponent, path_.string() + ": cannot rename into place", kRemedy);
  }
  temporary_.clear();
  sync_directory(directory_of(path_));
}

void sync_directory(const std::filesystem::path& directory) {
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) throw system_error(errno, kComponent, directory.string() + ": cannot open", kRemedy);
  const int synced = ::fsync(descriptor);
  const int problem = errno;
  ::close(descriptor);
  // Some file systems cannot sync a directory and say EINVAL; their renames are as durable as they get.
  if (synced != 0 && problem != EINVAL) {
    throw system_error(problem, kComponent, directory.string() + ": cannot sync", kRemedy);
  }
}

}  // namespace trident
