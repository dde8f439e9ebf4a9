#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace trident {

/// A file mapped read-only into memory. Pages are read when touched, so a file may be far larger than memory.
/// Moving empties the source. The file must not shrink while it is mapped.
class MappedFile {
 public:
  enum class Access { sequential, random };

  MappedFile() = default;
  /// Throws Error naming `path` where it is missing, not a regular file, or cannot be mapped. Empty files are fine.
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;

  const std::byte* data() const { return data_; }
  int64_t size() const { return size_; }

  /// Tells the kernel how the pages will be visited; only a hint.
  void advise(Access access) const;

 private:
  std::byte* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace trident
