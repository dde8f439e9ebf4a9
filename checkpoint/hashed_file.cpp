#include "checkpoint/hashed_file.h"

namespace trident {

HashedFile::HashedFile(FileSystem& files, const std::filesystem::path& path, int64_t bytes)
    : file_(files.create(path)) {
  file_->reserve(bytes);
}

void HashedFile::append(std::span<const std::byte> bytes) {
  hasher_.update(bytes);
  file_->write(size_, bytes);
  size_ += std::ssize(bytes);
}

BlockHashes HashedFile::finish() {
  file_->sync();
  file_->close();
  return hasher_.finish();
}

}  // namespace trident
