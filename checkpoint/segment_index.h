#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/logical_block.h"
#include "checkpoint/manifest.h"

namespace trident {

/// Finds where a rectangle of a logical tensor lies in a checkpoint's rank files. Copies what it needs.
class SegmentIndex {
 public:
  /// Part of a rectangle that lies in one segment.
  struct Piece {
    int file = 0;  ///< its place in Manifest::rank_files
    Segment segment;
    LogicalBlock block;  ///< of the tensor, inside both
  };

  explicit SegmentIndex(const Manifest& manifest);
  /// Pieces that make up `block`, ordered by row and column; its rows lie in the tensor.
  [[nodiscard]] std::vector<Piece> pieces(int tensor, const LogicalBlock& block) const;

 private:
  struct Entry {
    int file = 0;
    Segment segment;
    int64_t rows_end = 0;  ///< the largest end of this and all entries before it
  };
  std::vector<std::vector<Entry>> by_tensor_;  ///< each by first row, then first column
};

}  // namespace trident
