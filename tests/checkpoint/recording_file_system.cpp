#include "tests/checkpoint/recording_file_system.h"

#include <cerrno>
#include <set>
#include <span>
#include <utility>

#include "core/error.h"

namespace trident::testing {
namespace {

namespace fs = std::filesystem;
using Kind = FileCall::Kind;

class RecordedFile final : public WritableFile {
 public:
  RecordedFile(RecordingFileSystem& files, fs::path path, std::unique_ptr<WritableFile> file)
      : files_(files), path_(std::move(path)), file_(std::move(file)) {}

  void write(int64_t offset, std::span<const std::byte> bytes) override {
    files_.log({Kind::write, path_, {}, offset, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}});
    file_->write(offset, bytes);
  }
  void reserve(int64_t bytes) override {
    files_.log({Kind::reserve, path_, {}, bytes, {}});
    file_->reserve(bytes);
  }
  // The device itself is not the matter of these tests, and slow.
  void sync() override { files_.log({Kind::sync, path_, {}, 0, {}}); }
  void close() override {
    files_.log({Kind::close, path_, {}, 0, {}});
    file_->close();
  }

 private:
  RecordingFileSystem& files_;
  fs::path path_;
  std::unique_ptr<WritableFile> file_;
};

}  // namespace

std::string to_string(const FileCall& call) {
  static constexpr const char* kNames[] = {"create",           "write",          "reserve", "sync",    "close",
                                           "create_directory", "sync_directory", "rename",  "replace", "remove"};
  return std::string(kNames[static_cast<size_t>(call.kind)]) + " " + call.path.string();
}

bool is_sync(const FileCall& call) { return call.kind == Kind::sync || call.kind == Kind::sync_directory; }

void RecordingFileSystem::log(FileCall call) {
  if (before_) before_(call, calls_.size());
  calls_.push_back(std::move(call));
}

std::unique_ptr<WritableFile> RecordingFileSystem::create(const fs::path& path) {
  log({Kind::create, path, {}, 0, {}});
  return std::make_unique<RecordedFile>(*this, path, posix_file_system().create(path));
}

void RecordingFileSystem::create_directory(const fs::path& path) {
  log({Kind::create_directory, path, {}, 0, {}});
  posix_file_system().create_directory(path);
}

void RecordingFileSystem::sync_directory(const fs::path& path) { log({Kind::sync_directory, path, {}, 0, {}}); }

void RecordingFileSystem::rename(const fs::path& from, const fs::path& to) {
  log({Kind::rename, from, to, 0, {}});
  posix_file_system().rename(from, to);
}

void RecordingFileSystem::replace(const fs::path& from, const fs::path& to) {
  log({Kind::replace, from, to, 0, {}});
  posix_file_system().replace(from, to);
}

// Name by name, so that it can be cut off in between.
void RecordingFileSystem::remove(const fs::path& path) {
  if (fs::symlink_status(path).type() == fs::file_type::directory) {
    std::set<fs::path> inside;
    for (const auto& entry : fs::directory_iterator(path)) inside.insert(entry.path());
    for (const fs::path& entry : inside) remove(entry);
  }
  log({Kind::remove, path, {}, 0, {}});
  posix_file_system().remove(path);
}

void throw_no_space(const FileCall& call) { throw system_error(ENOSPC, "test", "cannot " + to_string(call)); }

}  // namespace trident::testing
