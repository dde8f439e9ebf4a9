#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace trident {

/// The bytes of a saved state's rank files, wherever they lie: on disk, or as snapshots in memory.
class RankBytes {
 public:
  virtual ~RankBytes() = default;
  /// Bytes [offset, offset + out.size()) of rank file `file`, its place in the manifest. Errors name `tensor`.
  virtual void read(int file, int64_t offset, std::span<std::byte> out, const std::string& tensor) = 0;
};

}  // namespace trident
