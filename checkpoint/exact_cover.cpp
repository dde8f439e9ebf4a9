#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <vector>

#include "checkpoint/manifest.h"
#include "core/error.h"

namespace trident {
namespace {

/// Rectangles of one tensor that a line sweeping over its rows crosses, by first column.
class SweepLine {
 public:
  /// The column that `block` shares with a rectangle that is crossed already, -1 where there is none.
  [[nodiscard]] int64_t add(const LogicalBlock& block) {
    const auto next = crossed_.lower_bound(block.column0);
    if (next != crossed_.end() && next->first < block.column0 + block.columns) return next->first;
    if (next != crossed_.begin() && std::prev(next)->second > block.column0) return block.column0;
    crossed_.emplace_hint(next, block.column0, block.column0 + block.columns);
    return -1;
  }
  void remove(const LogicalBlock& block) { crossed_.erase(block.column0); }
  /// The first column that no rectangle has, -1 where all have one.
  [[nodiscard]] int64_t hole(int64_t columns) const {
    int64_t at = 0;
    for (const auto& [begin, end] : crossed_) {
      if (begin > at) break;
      at = end;
    }
    return at < columns ? at : -1;
  }

 private:
  std::map<int64_t, int64_t> crossed_;
};

class CoverCheck {
 public:
  CoverCheck(const LogicalTensor& tensor, std::vector<LogicalBlock> blocks, const std::string& source)
      : tensor_(tensor), whole_(whole_block(tensor.shape)), source_(source), begins_(std::move(blocks)) {
    ends_ = begins_;
    std::sort(begins_.begin(), begins_.end(),
              [](const LogicalBlock& a, const LogicalBlock& b) { return a.row0 < b.row0; });
    std::sort(ends_.begin(), ends_.end(),
              [](const LogicalBlock& a, const LogicalBlock& b) { return a.row0 + a.rows < b.row0 + b.rows; });
  }

  // Without overlaps the areas add up exactly where nothing is missing, so only a hole makes the sweep look at columns.
  void run() const {
    int64_t elements = 0;
    for (const LogicalBlock& block : begins_) elements += block.elements();
    sweep(elements < whole_.elements());
    if (elements != whole_.elements()) throw refuse(whole_.rows, 0, "no segment");
  }

 private:
  void sweep(bool find_hole) const {
    SweepLine line;
    size_t ended = 0;
    for (size_t begun = 0; begun < begins_.size() || ended < ends_.size();) {
      const int64_t next_end = ends_[ended].row0 + ends_[ended].rows;
      const int64_t row = begun < begins_.size() ? std::min(begins_[begun].row0, next_end) : next_end;
      if (find_hole && begun == 0 && row > 0) throw refuse(0, 0, "no segment");
      while (ended < begun && ends_[ended].row0 + ends_[ended].rows <= row) line.remove(ends_[ended++]);
      while (begun < begins_.size() && begins_[begun].row0 <= row) {
        const int64_t column = line.add(begins_[begun++]);
        if (column >= 0) throw refuse(row, column, "more than one segment");
      }
      if (!find_hole || row >= whole_.rows) continue;
      if (const int64_t column = line.hole(whole_.columns); column >= 0) throw refuse(row, column, "no segment");
    }
  }

  [[nodiscard]] Error refuse(int64_t row, int64_t column, const char* what) const {
    return {ErrorCode::bad_data, "checkpoint/manifest",
            fmt::format("{}: row {}, column {} of {} is in {}", source_, row, column, tensor_.name, what)};
  }

  const LogicalTensor& tensor_;
  LogicalBlock whole_;
  const std::string& source_;
  std::vector<LogicalBlock> begins_, ends_;  // by first row, by last
};

}  // namespace

void require_exact_cover(const Manifest& manifest, const std::string& source) {
  std::vector<std::vector<LogicalBlock>> blocks(manifest.tensors.size());
  for (const RankFile& file : manifest.rank_files) {
    for (const Segment& segment : file.segments) blocks[static_cast<size_t>(segment.tensor)].push_back(segment.block);
  }
  for (size_t i = 0; i < blocks.size(); ++i) {
    if (blocks[i].empty())
      throw Error(ErrorCode::bad_data, "checkpoint/manifest",
                  fmt::format("{}: {} is in no segment", source, manifest.tensors[i].name));
    CoverCheck(manifest.tensors[i], std::move(blocks[i]), source).run();
  }
}

}  // namespace trident
