#pragma once

#include <cstddef>
#include <filesystem>
#include <string_view>

namespace trident {

/// A file that appears whole or not at all: bytes go to a temporary neighbour, which commit() syncs and renames.
/// Without commit() the destructor removes it.
class AtomicFile {
 public:
  /// Throws Error(io) where the directory cannot be written.
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, size_t size);
  void write(std::string_view text) { write(text.data(), text.size()); }
  /// fsync, rename over `path`, fsync the directory.
  void commit();

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

/// Makes renames and new names in `directory` durable.
void sync_directory(const std::filesystem::path& directory);

}  // namespace trident
