#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/file_system.h"

namespace trident::testing {

/// One call that changed files or brought them to the device.
struct FileCall {
  enum class Kind { create, write, reserve, sync, close, create_directory, sync_directory, rename, replace, remove };
  Kind kind{};
  std::filesystem::path path;
  std::filesystem::path to;  ///< of rename and replace
  int64_t offset = 0;        ///< of write; the size of reserve
  std::string bytes;         ///< of write
};
[[nodiscard]] std::string to_string(const FileCall& call);
[[nodiscard]] bool is_sync(const FileCall& call);

/// The system's files, with a log of all calls and a hook before each of them, which may throw.
class RecordingFileSystem final : public FileSystem {
 public:
  using Hook = std::function<void(const FileCall& call, size_t number)>;

  explicit RecordingFileSystem(Hook before = {}) : before_(std::move(before)) {}

  std::unique_ptr<WritableFile> create(const std::filesystem::path& path) override;
  void create_directory(const std::filesystem::path& path) override;
  void sync_directory(const std::filesystem::path& path) override;
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  void replace(const std::filesystem::path& from, const std::filesystem::path& to) override;
  void remove(const std::filesystem::path& path) override;

  [[nodiscard]] const std::vector<FileCall>& calls() const { return calls_; }
  void log(FileCall call);

 private:
  Hook before_;
  std::vector<FileCall> calls_;
};

/// Throws what a full disk would, before the call is made.
[[noreturn]] void throw_no_space(const FileCall& call);

}  // namespace trident::testing
