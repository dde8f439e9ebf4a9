#include "launch/status/heat_map.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace trident {
namespace {

// Many ranks have fewer columns, so that a page stays small.
constexpr size_t kCells = 32'768, kMostColumns = 120, kLeastColumns = 20;

}  // namespace

HeatMap::HeatMap(size_t ranks)
    : most_(std::clamp(kCells / std::max<size_t>(ranks, 1), kLeastColumns, kMostColumns)), last_(ranks, -1) {}

void HeatMap::add(size_t rank, int64_t step, double seconds) {
  if (rank >= last_.size() || step <= last_[rank] || !(seconds > 0)) return;
  last_[rank] = step;
  const bool taken = !columns_.empty() && !std::isnan(columns_.back().seconds[rank]);
  if (columns_.empty() || missing_ == 0) {
    columns_.push_back({step, std::vector<float>(last_.size(), std::numeric_limits<float>::quiet_NaN())});
    missing_ = last_.size();
    if (columns_.size() > most_) columns_.pop_front();
  } else if (taken) {
    return;  // it is ahead of those that the column waits for
  }
  Column& column = columns_.back();
  column.step = std::max(column.step, step);
  column.seconds[rank] = static_cast<float>(seconds);
  --missing_;
}

}  // namespace trident
