#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "checkpoint/logical_block.h"
#include "checkpoint/manifest.h"
#include "checkpoint/rank_bytes.h"
#include "checkpoint/segment_index.h"

namespace trident {

/// Reads any rectangle of any logical tensor of a saved state, whatever layout cut it into rank files. For one thread.
class RectangleReader {
 public:
  /// The manifest covers every element exactly once (require_exact_cover). Both outlive this object; `source` names
  /// them in errors.
  RectangleReader(const Manifest& manifest, RankBytes& bytes, std::string source);

  [[nodiscard]] const Manifest& manifest() const { return manifest_; }
  /// Its place in manifest().tensors; -1 where there is none of that name.
  [[nodiscard]] int find(const std::string& tensor) const;

  /// The elements of `block`, row by row. fp32 and fp64 convert. Ask in the order of manifest().tensors, rows
  /// ascending, to have every block of a file read once. Throws what RankBytes does; Error(input_missing) for the
  /// moments where there are weights alone.
  void read(StateKind kind, int tensor, const LogicalBlock& block, std::span<float> out);
  void read(StateKind kind, int tensor, const LogicalBlock& block, std::span<double> out);

  /// Neighbouring elements of a rank file that lie together in a rectangle too.
  struct Run {
    int file = 0;
    int64_t offset = 0;  ///< byte in the file
    int64_t count = 0;   ///< elements
    int64_t to = 0;      ///< element of the rectangle
  };
  /// What read() reads, in its order.
  void for_each_run(StateKind kind, int tensor, const LogicalBlock& block,
                    const std::function<void(const Run& run)>& visit) const;

 private:
  void require_inside(StateKind kind, int tensor, const LogicalBlock& block) const;
  template <class T>
  void read_block(StateKind kind, int tensor, const LogicalBlock& block, std::span<T> out);
  template <class T>
  void read_run(int file, int64_t offset, std::span<T> out, const std::string& tensor);

  const Manifest& manifest_;
  RankBytes& bytes_;
  std::string source_;
  SegmentIndex segments_;
  std::unordered_map<std::string, int> by_name_;
  std::vector<std::byte> stored_;  // elements before they are converted
};

}  // namespace trident
