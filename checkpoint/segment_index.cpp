#include "checkpoint/segment_index.h"

#include <algorithm>
#include <tuple>

namespace trident {
namespace {

LogicalBlock intersection(const LogicalBlock& a, const LogicalBlock& b) {
  const auto overlap = [](int64_t a0, int64_t a_count, int64_t b0, int64_t b_count) {
    return std::max<int64_t>(0, std::min(a0 + a_count, b0 + b_count) - std::max(a0, b0));
  };
  return {std::max(a.row0, b.row0), overlap(a.row0, a.rows, b.row0, b.rows), std::max(a.column0, b.column0),
          overlap(a.column0, a.columns, b.column0, b.columns)};
}

}  // namespace

SegmentIndex::SegmentIndex(const Manifest& manifest) : by_tensor_(manifest.tensors.size()) {
  for (size_t file = 0; file < manifest.rank_files.size(); ++file)
    for (const Segment& segment : manifest.rank_files[file].segments)
      by_tensor_[static_cast<size_t>(segment.tensor)].push_back({static_cast<int>(file), segment, 0});
  for (auto& entries : by_tensor_) {
    std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
      const LogicalBlock &p = a.segment.block, &q = b.segment.block;
      return std::tie(p.row0, p.column0) < std::tie(q.row0, q.column0);
    });
    int64_t end = 0;
    for (Entry& entry : entries) {
      end = std::max(end, entry.segment.block.row0 + entry.segment.block.rows);
      entry.rows_end = end;
    }
  }
}

std::vector<SegmentIndex::Piece> SegmentIndex::pieces(int tensor, const LogicalBlock& block) const {
  const auto& entries = by_tensor_[static_cast<size_t>(tensor)];
  std::vector<Piece> pieces;
  auto entry = std::partition_point(entries.begin(), entries.end(),
                                    [&](const Entry& before) { return before.rows_end <= block.row0; });
  for (; entry != entries.end() && entry->segment.block.row0 < block.row0 + block.rows; ++entry) {
    const LogicalBlock part = intersection(entry->segment.block, block);
    if (part.elements() > 0) pieces.push_back({entry->file, entry->segment, part});
  }
  return pieces;
}

}  // namespace trident
