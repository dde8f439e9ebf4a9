#include "checkpoint/checkpoint_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace trident {
namespace {

namespace fs = std::filesystem;

constexpr const char* kComponent = "checkpoint/folder";

std::string kind_of(mode_t mode) {
  if (S_ISLNK(mode)) return "a symbolic link";
  if (S_ISDIR(mode)) return "a folder";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return S_ISREG(mode) ? "a regular file" : "a device";
}

std::optional<CheckpointProblem> problem_with(const std::string& name, const struct stat& status, int64_t bytes) {
  if (!S_ISREG(status.st_mode)) return CheckpointProblem{name, {}, {}, kind_of(status.st_mode) + ", expected a file"};
  if (status.st_size == bytes) return std::nullopt;
  return CheckpointProblem{
      name, {}, {}, fmt::format("{} bytes, expected {}", status.st_size, bytes), status.st_size < bytes};
}

/// "folder/" would be followed where "folder" is a link.
fs::path without_trailing_slash(fs::path path) {
  while (!path.has_filename() && path.has_relative_path()) path = path.parent_path();
  return path;
}

}  // namespace

Error cannot_open(int errno_value, const fs::path& path) {
  if (errno_value != EACCES && errno_value != EPERM)
    return system_error(errno_value, kComponent, "cannot open " + path.string());
  return {ErrorCode::config, kComponent, "cannot open " + path.string() + ": this user may not read it",
          "nothing is known to be damaged: give this user the right to read, or start as the run's owner"};
}

InputFile::InputFile(int descriptor, fs::path folder, std::string name)
    : descriptor_(descriptor), folder_(std::move(folder)), name_(std::move(name)) {}

InputFile::InputFile(InputFile&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      folder_(std::move(other.folder_)),
      name_(std::move(other.name_)) {}

InputFile& InputFile::operator=(InputFile&& other) noexcept {
  std::swap(descriptor_, other.descriptor_);
  folder_.swap(other.folder_);
  name_.swap(other.name_);
  return *this;
}

InputFile::~InputFile() {
  if (descriptor_ >= 0) close(descriptor_);
}

void InputFile::read(int64_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t got = pread(descriptor_, out.data(), out.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw system_error(errno, kComponent,
                         fmt::format("cannot read {} at byte {}", (folder_ / name_).string(), offset),
                         "check the disk; an earlier checkpoint may be readable");
    if (got == 0) throw DamagedCheckpoint(folder_, {name_, {}, {}, fmt::format("ends at byte {}", offset), true});
    offset += got;
    out = out.subspan(static_cast<size_t>(got));
  }
}

CheckpointFolder::CheckpointFolder(fs::path path) : path_(without_trailing_slash(std::move(path))) {
  descriptor_ = ::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (descriptor_ >= 0) return;
  if (errno == ENOTDIR || errno == ELOOP)
    throw DamagedCheckpoint(path_, {{}, {}, {}, "a link or a file, expected a checkpoint's folder itself"});
  throw cannot_open(errno, path_);
}

CheckpointFolder::~CheckpointFolder() { close(descriptor_); }

std::optional<struct stat> CheckpointFolder::look_at(const std::string& name) const {
  struct stat status {};
  if (fstatat(descriptor_, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) return status;
  if (errno == ENOENT) return std::nullopt;
  throw system_error(errno, kComponent, "cannot look at " + (path_ / name).string());
}

bool CheckpointFolder::has(const std::string& name) const { return look_at(name).has_value(); }

std::optional<CheckpointProblem> CheckpointFolder::problem_with(const std::string& name, int64_t bytes) const {
  const std::optional<struct stat> status = look_at(name);
  if (!status) return CheckpointProblem{name, {}, {}, "is not there", true};
  return trident::problem_with(name, *status, bytes);
}

InputFile CheckpointFolder::open(const std::string& name, int64_t bytes) const {
  // A device is not even opened.
  if (auto problem = problem_with(name, bytes)) throw DamagedCheckpoint(path_, std::move(*problem));
  const int descriptor = openat(descriptor_, name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (descriptor < 0) throw cannot_open(errno, path_ / name);
  InputFile file(descriptor, path_, name);
  struct stat status {};
  if (fstat(descriptor, &status) != 0)
    throw system_error(errno, kComponent, "cannot look at " + (path_ / name).string());
  if (auto problem = trident::problem_with(name, status, bytes)) throw DamagedCheckpoint(path_, std::move(*problem));
  return file;
}

std::vector<std::byte> CheckpointFolder::content(const std::string& name, int64_t bytes) const {
  const InputFile file = open(name, bytes);
  std::vector<std::byte> content(static_cast<size_t>(bytes));
  file.read(0, content);
  return content;
}

std::vector<std::string> CheckpointFolder::names() const {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(path_)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace trident
