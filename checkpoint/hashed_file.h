#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "checkpoint/file_hash.h"
#include "checkpoint/file_system.h"

namespace trident {

/// Writes a new file front to back while it hashes the bytes, in blocks.
class HashedFile {
 public:
  /// Reserves room for `bytes`, the size that the file will have.
  HashedFile(FileSystem& files, const std::filesystem::path& path, int64_t bytes);
  /// Bytes so far.
  [[nodiscard]] int64_t size() const { return size_; }
  /// How many bytes an append() should have so that blocks are hashed whole, without a second look.
  [[nodiscard]] int64_t rest_of_block() const { return kHashBlockBytes - size_ % kHashBlockBytes; }
  void append(std::span<const std::byte> bytes);
  /// Syncs and closes.
  [[nodiscard]] BlockHashes finish();

 private:
  std::unique_ptr<WritableFile> file_;
  BlockHasher hasher_;
  int64_t size_ = 0;
};

}  // namespace trident
