#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace trident {

/// A file that is written under a temporary name beside its own and appears whole, by rename, or not at all.
class AtomicFile {
 public:
  /// Throws Error where the temporary file cannot be created.
  explicit AtomicFile(std::string path);
  /// Removes the temporary file unless commit() succeeded.
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  /// Buffered. Throws Error naming the file where writing fails, for instance on a full disk.
  void write(std::span<const std::byte> bytes);

  /// Flushes to the device; afterwards only the rename is left to fail.
  void flush();

  /// Gives the flushed file its name, over any older file of that name.
  void commit();

 private:
  void drain();
  void write_all(std::span<const std::byte> bytes);

  std::string path_;
  std::string temporary_path_;
  std::vector<std::byte> buffer_;
  int fd_ = -1;
  bool committed_ = false;
};

}  // namespace trident
