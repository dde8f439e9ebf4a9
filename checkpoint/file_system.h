#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

namespace trident {

/// A file that is being written. Every call throws Error(io) naming the file and the system's reason.
class WritableFile {
 public:
  virtual ~WritableFile() = default;
  virtual void write(int64_t offset, std::span<const std::byte> bytes) = 0;
  /// Reserves blocks for `bytes` where the file system can, so that a full disk shows early.
  virtual void reserve(int64_t bytes) = 0;
  /// Brings content and size to the device.
  virtual void sync() = 0;
  /// The destructor closes without checking.
  virtual void close() = 0;
};

/// All that checkpoints change on disk goes through this, so that tests can record the calls, cut them off or make them
/// fail. Every call throws Error(io) naming the path and the system's reason. May be used by several threads.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  /// Fails if the name is taken.
  virtual std::unique_ptr<WritableFile> create(const std::filesystem::path& path) = 0;
  /// No failure if the directory is there.
  virtual void create_directory(const std::filesystem::path& path) = 0;
  /// Makes names in the directory durable.
  virtual void sync_directory(const std::filesystem::path& path) = 0;
  /// Fails if `to` is there.
  virtual void rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  /// Puts the file `from` in the place of `to`, which may be there.
  virtual void replace(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  /// A file, or a directory with all it contains; links are not followed. No failure if nothing is there.
  virtual void remove(const std::filesystem::path& path) = 0;
};

/// The operating system's files.
[[nodiscard]] FileSystem& posix_file_system();

/// create, write, sync, close.
void write_file(FileSystem& files, const std::filesystem::path& path, std::span<const std::byte> bytes);
void write_file(FileSystem& files, const std::filesystem::path& path, std::string_view text);

}  // namespace trident
