#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

namespace trident {

/// Seconds that each rank worked at a step, for the last steps that were seen. Ranks are looked at now and then, so a
/// column takes each rank's first step since the column before, and ends when every rank has one.
class HeatMap {
 public:
  struct Column {
    int64_t step = 0;              ///< the last that is in it
    std::vector<float> seconds{};  ///< by rank, NaN where there is none yet
  };

  explicit HeatMap(size_t ranks = 0);
  void add(size_t rank, int64_t step, double seconds);

  [[nodiscard]] size_t ranks() const { return last_.size(); }
  [[nodiscard]] const std::deque<Column>& columns() const { return columns_; }

 private:
  size_t most_;
  size_t missing_ = 0;  // ranks that the last column lacks
  std::vector<int64_t> last_;
  std::deque<Column> columns_;
};

}  // namespace trident
