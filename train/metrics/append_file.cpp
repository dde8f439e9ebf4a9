#include "train/metrics/append_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/log.h"

namespace trident {
namespace {

constexpr const char* component = "train/metrics";
constexpr const char* remedy = "check that the run directory can be written and has room";
constexpr std::size_t line_limit = std::size_t{1} << 20U;

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags) : value_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return value_; }

 private:
  int value_;
};

// The offset after the last newline before `size`.
off_t end_of_last_line(int descriptor, off_t size) {
  std::array<char, 4096> block{};
  off_t end = size;
  while (end > 0) {
    const off_t begin = std::max<off_t>(0, end - static_cast<off_t>(block.size()));
    const ssize_t got = ::pread(descriptor, block.data(), static_cast<std::size_t>(end - begin), begin);
    if (got <= 0) return size;
    for (ssize_t i = got - 1; i >= 0; --i) {
      if (block[static_cast<std::size_t>(i)] == '\n') return begin + i + 1;
    }
    end = begin;
  }
  return 0;
}

}  // namespace

AppendFile::AppendFile(const std::filesystem::path& path)
    : path_(path.string()), descriptor_(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644)) {
  if (descriptor_ < 0) throw system_error(errno, component, "cannot open " + path_ + " for appending", remedy);
}

AppendFile::AppendFile(AppendFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      waiting_(std::move(other.waiting_)),
      lost_(other.lost_),
      warned_(other.warned_) {}

AppendFile::~AppendFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

void AppendFile::append(std::string_view record) noexcept {
  std::size_t written = 0;
  try {
    if (waiting_.empty()) {
      if (!write_all(record, written)) waiting_.append(record.substr(written));
      return;
    }
    if (waiting_.size() + record.size() > waiting_limit) {
      ++lost_;
    } else {
      waiting_.append(record);
    }
    write_all(waiting_, written);
    waiting_.erase(0, written);
  } catch (...) {
    ++lost_;  // no memory for a record is no reason to end the training
  }
}

bool AppendFile::write_all(std::string_view bytes, std::size_t& written) noexcept {
  while (written < bytes.size()) {
    const ssize_t count = ::write(descriptor_, bytes.data() + written, bytes.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      warn_once(count == 0 ? ENOSPC : errno);
      return false;
    }
    written += static_cast<std::size_t>(count);
  }
  return true;
}

void AppendFile::warn_once(int error) noexcept {
  if (std::exchange(warned_, true)) return;
  try {
    log::warning("{}: {}; training goes on, records wait in memory until there is room", path_, std::strerror(error));
  } catch (...) {
    return;  // where even the log fails there is nobody to tell
  }
}

void truncate_torn_line(const std::filesystem::path& path) {
  const Descriptor file(path.string(), O_RDWR);
  if (file.get() < 0) {
    if (errno == ENOENT) return;
    throw system_error(errno, component, "cannot open " + path.string(), remedy);
  }
  struct stat status {};
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) return;
  const off_t end = end_of_last_line(file.get(), status.st_size);
  if (end < status.st_size && ::ftruncate(file.get(), end) != 0) {
    throw system_error(errno, component, "cannot cut the torn last line off " + path.string(), remedy);
  }
}

std::int64_t for_each_line(const std::filesystem::path& path, const std::function<void(std::string_view)>& use) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return 0;  // a device may have no end
  std::ifstream file(path, std::ios::binary);
  std::vector<char> block(std::size_t{1} << 18U);
  std::string line;
  bool too_long = false;
  std::int64_t passed_over = 0;
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())) || file.gcount() > 0) {
    std::string_view rest(block.data(), static_cast<std::size_t>(file.gcount()));
    for (std::size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
      if (!too_long) line.append(rest.substr(0, end));
      if (too_long || line.size() > line_limit) {
        ++passed_over;
      } else {
        use(line);
      }
      line.clear();
      too_long = false;
      rest.remove_prefix(end + 1);
    }
    if (!too_long) line.append(rest);
    too_long = too_long || line.size() > line_limit;
    if (too_long) line.clear();
  }
  return passed_over;
}

}  // namespace trident
