#include "checkpoint/file_system.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>
#include <utility>

#include "core/atomic_file.h"
#include "core/error.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

constexpr const char* kComponent = "checkpoint/files";
constexpr int64_t kLargePiece = int64_t{1} << 20;

void require(bool ok, const char* what, const fs::path& path) {
  if (!ok) throw system_error(errno, kComponent, fmt::format("cannot {} {}", what, path.string()));
}

class PosixFile final : public WritableFile {
 public:
  explicit PosixFile(fs::path path) : path_(std::move(path)) {
    descriptor_ = open(path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    require(descriptor_ >= 0, "create", path_);
  }
  ~PosixFile() override {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  void write(int64_t offset, std::span<const std::byte> bytes) override {
    const int64_t begin = offset, size = std::ssize(bytes);
    while (!bytes.empty()) {
      const ssize_t written = pwrite(descriptor_, bytes.data(), bytes.size(), offset);
      if (written < 0 && errno == EINTR) continue;
      require(written >= 0, "write", path_);
      offset += written;
      bytes = bytes.subspan(static_cast<size_t>(written));
    }
    // The device works while the next piece is made. A failure shows in sync().
    if (size >= kLargePiece) (void)sync_file_range(descriptor_, begin, size, SYNC_FILE_RANGE_WRITE);
  }
  void reserve(int64_t bytes) override {
    if (bytes == 0 || fallocate(descriptor_, 0, 0, bytes) == 0) return;
    require(errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR, "reserve space for", path_);
  }
  void sync() override { require(fsync(descriptor_) == 0, "sync", path_); }
  void close() override { require(::close(std::exchange(descriptor_, -1)) == 0, "close", path_); }

 private:
  fs::path path_;
  int descriptor_ = -1;
};

class PosixFileSystem final : public FileSystem {
 public:
  std::unique_ptr<WritableFile> create(const fs::path& path) override { return std::make_unique<PosixFile>(path); }
  void create_directory(const fs::path& path) override {
    require(mkdir(path.c_str(), 0755) == 0 || errno == EEXIST, "create the folder", path);
  }
  void sync_directory(const fs::path& path) override { trident::sync_directory(path); }
  void rename(const fs::path& from, const fs::path& to) override {
    if (renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return;
    // Some network file systems know no flags; a folder that is not empty is never replaced.
    const bool no_flags = errno == EINVAL || errno == ENOSYS;
    require(no_flags && ::rename(from.c_str(), to.c_str()) == 0, "rename", from);
  }
  void replace(const fs::path& from, const fs::path& to) override {
    require(::rename(from.c_str(), to.c_str()) == 0, "rename", from);
  }
  void remove(const fs::path& path) override {
    std::error_code error;
    fs::remove_all(path, error);
    if (error) throw system_error(error.value(), kComponent, "cannot remove " + path.string());
  }
};

}  // namespace

FileSystem& posix_file_system() {
  static PosixFileSystem files;
  return files;
}

void write_file(FileSystem& files, const fs::path& path, std::span<const std::byte> bytes) {
  const auto file = files.create(path);
  file->write(0, bytes);
  file->sync();
  file->close();
}

void write_file(FileSystem& files, const fs::path& path, std::string_view text) {
  write_file(files, path, std::as_bytes(std::span(text)));
}

}  // namespace trident
