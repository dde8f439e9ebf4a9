#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace trident {

/// A file that appears whole or not at all: bytes go, buffered, to a temporary neighbour, which commit() syncs and
/// renames. Without commit() the destructor removes it.
class AtomicFile {
 public:
  /// Throws Error naming the file where the folder cannot be written.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Throws Error naming the file where writing fails, for instance on a full disk.
  void write(std::span<const std::byte> bytes);
  void write(const void* data, size_t size) { write({static_cast<const std::byte*>(data), size}); }
  void write(std::string_view text) { write(text.data(), text.size()); }

  /// Brings everything to the device; of commit() only the rename is then left to fail.
  void flush();
  /// flush, rename over `path`, sync of the folder.
  void commit();

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  void drain();
  void write_all(std::span<const std::byte> bytes);

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::vector<std::byte> buffer_;
  int descriptor_ = -1;
};

/// Makes renames and new names in `directory` durable.
void sync_directory(const std::filesystem::path& directory);

/// An AtomicFile of this text.
void write_file_atomically(const std::filesystem::path& path, std::string_view text);

}  // namespace trident
