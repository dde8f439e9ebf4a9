#include "data/atomic_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "core/error.h"

namespace trident {
namespace {

constexpr const char* component = "data/atomic_file";
constexpr size_t buffer_bytes = size_t{1} << 20;

}  // namespace

AtomicFile::AtomicFile(std::string path)
    : path_(std::move(path)), temporary_path_(path_ + ".tmp-" + std::to_string(::getpid())) {
  fd_ = ::open(temporary_path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) throw system_error(errno, component, "cannot create " + temporary_path_, "check that its folder exists");
  buffer_.reserve(buffer_bytes);
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!committed_) ::unlink(temporary_path_.c_str());
}

void AtomicFile::write(std::span<const std::byte> bytes) {
  TRIDENT_CHECK(fd_ >= 0, "written after commit");
  if (buffer_.size() + bytes.size() > buffer_bytes) drain();
  if (bytes.size() > buffer_bytes) return write_all(bytes);
  buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
}

void AtomicFile::drain() {
  write_all(buffer_);
  buffer_.clear();
}

void AtomicFile::write_all(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      throw system_error(errno, component, "cannot write " + path_, "make room on that disk, or write to another one");
    }
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void AtomicFile::flush() {
  drain();
  if (::fsync(fd_) != 0) throw system_error(errno, component, "cannot flush " + path_);
}

void AtomicFile::commit() {
  TRIDENT_CHECK(fd_ >= 0 && buffer_.empty(), "committed before flush");
  // Some file systems report a failed write only here.
  if (::close(std::exchange(fd_, -1)) != 0) throw system_error(errno, component, "cannot close " + path_);
  if (std::rename(temporary_path_.c_str(), path_.c_str()) != 0) {
    throw system_error(errno, component, "cannot rename " + temporary_path_ + " to " + path_);
  }
  committed_ = true;
}

}  // namespace trident
