#include <fcntl.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

#include "checkpoint/checkpoint_root.h"
#include "core/error.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

constexpr const char* kComponent = "checkpoint/lease";

std::string host() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "?";
}

/// Who wrote the lease's file; whatever stands there, one line of plain text.
std::string holder(int descriptor) {
  std::array<char, 4096> text{};
  const ssize_t size = pread(descriptor, text.data(), text.size(), 0);
  const auto content =
      nlohmann::json::parse(text.data(), text.data() + std::max<ssize_t>(0, size), nullptr, /*allow_exceptions=*/false);
  const auto word = [&](const char* key) {
    const auto found = content.find(key);
    return found == content.end() ? "?" : found->dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  };
  if (!content.is_object()) return "another process";
  return fmt::format("run {} on host {}, process {}", word("run"), word("host"), word("pid"));
}

/// A name is durable once the folder that it stands in is synced. The root's own is synced even where it is there:
/// whoever made it may not have done so.
void create_durably(FileSystem& files, const fs::path& folder) {
  const fs::path parent = folder.has_parent_path() ? folder.parent_path() : fs::path(".");
  if (std::error_code ignored; !fs::exists(parent, ignored)) create_durably(files, parent);
  files.create_directory(folder);
  files.sync_directory(parent);
}

bool write_holder(int descriptor, const std::string& run_id) {
  const std::string line = nlohmann::ordered_json{{"run", run_id}, {"host", host()}, {"pid", getpid()}}.dump(
                               -1, ' ', true, nlohmann::json::error_handler_t::replace) +
                           "\n";
  return ftruncate(descriptor, 0) == 0 && pwrite(descriptor, line.data(), line.size(), 0) == std::ssize(line);
}

}  // namespace

WriterLease::WriterLease(const CheckpointRoot& root, const std::string& run_id, FileSystem& files) {
  create_durably(files, fs::absolute(root.path()).lexically_normal());
  const fs::path path = root.path() / ".writer";
  descriptor_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
  if (descriptor_ < 0)
    throw system_error(errno, kComponent, "cannot write to " + path.string(),
                       "checkpoints need a folder that can be written");
  try {
    if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK)
        throw system_error(errno, kComponent, "cannot lock " + path.string(), "the file system must support flock()");
      throw Error(ErrorCode::config, kComponent,
                  fmt::format("{} is written by {}", root.path().string(), holder(descriptor_)),
                  "end that one first, or choose another run.name");
    }
    if (!write_holder(descriptor_, run_id)) throw system_error(errno, kComponent, "cannot write to " + path.string());
  } catch (...) {
    close(descriptor_);
    throw;
  }
}

// Emptied first, so that the next holder is not taken for this one before it has written its name.
WriterLease::~WriterLease() {
  if (ftruncate(descriptor_, 0) != 0) {
  }
  close(descriptor_);
}

}  // namespace trident
