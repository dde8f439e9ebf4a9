#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

#include "checkpoint/checkpoint_root.h"
#include "core/error.h"

namespace trident {
namespace {

constexpr const char* kComponent = "checkpoint/lease";

std::string host() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "?";
}

std::string content_of(int descriptor) {
  std::array<char, 512> text{};
  const ssize_t size = pread(descriptor, text.data(), text.size(), 0);
  std::string line(text.data(), static_cast<size_t>(std::max<ssize_t>(0, size)));
  for (char& c : line) c = c >= ' ' && c < 127 ? c : ' ';
  return line;
}

}  // namespace

WriterLease::WriterLease(const CheckpointRoot& root, const std::string& run_id) {
  std::error_code error;
  std::filesystem::create_directories(root.path(), error);
  if (error) throw system_error(error.value(), kComponent, "cannot create " + root.path().string());
  const std::filesystem::path path = root.path() / ".writer";
  descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
  if (descriptor_ < 0)
    throw system_error(errno, kComponent, "cannot write to " + path.string(),
                       "checkpoints need a folder to write into");
  if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    const std::string holder = content_of(descriptor_);
    close(descriptor_);
    if (reason != EWOULDBLOCK) throw system_error(reason, kComponent, "cannot lock " + path.string());
    throw Error(ErrorCode::config, kComponent,
                fmt::format("{} is written by another process: {}", root.path().string(), holder),
                "end that one first, or choose another run.name");
  }
  const std::string line = fmt::format("run {} on {}, process {}\n", run_id, host(), getpid());
  if (ftruncate(descriptor_, 0) != 0 || pwrite(descriptor_, line.data(), line.size(), 0) != std::ssize(line)) {
    const int reason = errno;
    close(descriptor_);
    throw system_error(reason, kComponent, "cannot write to " + path.string());
  }
}

WriterLease::~WriterLease() { close(descriptor_); }

}  // namespace trident
