#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/manifest.h"
#include "core/error.h"

namespace trident {
namespace {

int64_t end_row(const LogicalBlock& block) { return block.row0 + block.rows; }
int64_t end_column(const LogicalBlock& block) { return block.column0 + block.columns; }

/// The rectangles of one tensor that a line sweeping over its rows crosses: disjoint ranges of columns, begin to end.
class SweepLine {
 public:
  /// False where it shares a column with another.
  [[nodiscard]] bool add(const LogicalBlock& block) {
    const auto next = crossed_.lower_bound(block.column0);
    if (next != crossed_.end() && next->first < end_column(block)) return false;
    if (next != crossed_.begin() && std::prev(next)->second > block.column0) return false;
    crossed_.emplace_hint(next, block.column0, end_column(block));
    width_ += block.columns;
    return true;
  }
  void remove(const LogicalBlock& block) {
    crossed_.erase(block.column0);
    width_ -= block.columns;
  }
  [[nodiscard]] int64_t width() const { return width_; }

 private:
  std::map<int64_t, int64_t> crossed_;
  int64_t width_ = 0;
};

void require_inside(const Segment& segment, const Manifest& manifest, const std::string& source) {
  const auto inside = [](int64_t begin, int64_t count, int64_t all) {
    return begin >= 0 && count > 0 && count <= all && begin <= all - count;
  };
  const LogicalBlock& block = segment.block;
  const auto tensor = static_cast<size_t>(segment.tensor);
  if (segment.tensor >= 0 && tensor < manifest.tensors.size()) {
    const LogicalBlock whole = whole_block(manifest.tensors[tensor].shape);
    if (inside(block.row0, block.rows, whole.rows) && inside(block.column0, block.columns, whole.columns)) return;
  }
  throw Error(ErrorCode::bad_data, "checkpoint/manifest",
              fmt::format("{}: the segment of rows {} + {}, columns {} + {} is not in tensor {}", source, block.row0,
                          block.rows, block.column0, block.columns, segment.tensor));
}

class CoverCheck {
 public:
  CoverCheck(const LogicalTensor& tensor, std::vector<LogicalBlock> blocks, const std::string& source)
      : tensor_(tensor), whole_(whole_block(tensor.shape)), source_(source), by_begin_(std::move(blocks)) {
    by_end_ = by_begin_;
    std::sort(by_begin_.begin(), by_begin_.end(),
              [](const LogicalBlock& a, const LogicalBlock& b) { return a.row0 < b.row0; });
    std::sort(by_end_.begin(), by_end_.end(),
              [](const LogicalBlock& a, const LogicalBlock& b) { return end_row(a) < end_row(b); });
  }

  // What the line crosses changes only where a rectangle begins or ends. Between, disjoint ranges cover all columns
  // where their widths add up to all.
  void run() const {
    SweepLine line;
    size_t begun = 0, ended = 0;
    for (int64_t row = 0; row < whole_.rows;) {
      while (ended < begun && end_row(by_end_[ended]) <= row) line.remove(by_end_[ended++]);
      bool disjoint = true;
      while (disjoint && begun < by_begin_.size() && by_begin_[begun].row0 <= row)
        disjoint = line.add(by_begin_[begun++]);
      if (!disjoint || line.width() != whole_.columns) refuse(row);
      row = end_row(by_end_[ended]);
      if (begun < by_begin_.size()) row = std::min(row, by_begin_[begun].row0);
    }
  }

 private:
  /// Throws, naming the first column of the row that is not in one segment exactly.
  [[noreturn]] void refuse(int64_t row) const {
    std::vector<std::pair<int64_t, int64_t>> ranges;
    for (const LogicalBlock& block : by_begin_)
      if (block.row0 <= row && row < end_row(block)) ranges.emplace_back(block.column0, end_column(block));
    std::sort(ranges.begin(), ranges.end());
    int64_t column = 0;
    bool twice = false;
    for (const auto& [begin, end] : ranges) {
      twice = begin < column;
      if (begin != column) {
        if (twice) column = begin;
        break;
      }
      column = end;
    }
    throw Error(ErrorCode::bad_data, "checkpoint/manifest",
                fmt::format("{}: row {}, column {} of {} is in {} segment", source_, row, column, tensor_.name,
                            twice ? "more than one" : "no"));
  }

  const LogicalTensor& tensor_;
  LogicalBlock whole_;
  const std::string& source_;
  std::vector<LogicalBlock> by_begin_, by_end_;
};

}  // namespace

void require_exact_cover(const Manifest& manifest, const std::string& source) {
  std::vector<std::vector<LogicalBlock>> blocks(manifest.tensors.size());
  for (const RankFile& file : manifest.rank_files) {
    for (const Segment& segment : file.segments) {
      require_inside(segment, manifest, source);
      blocks[static_cast<size_t>(segment.tensor)].push_back(segment.block);
    }
  }
  for (size_t i = 0; i < blocks.size(); ++i)
    CoverCheck(manifest.tensors[i], std::exchange(blocks[i], {}), source).run();
}

}  // namespace trident
