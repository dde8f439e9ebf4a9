#include "train/metrics/sparkline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "core/error.h"

namespace trident {
namespace {

// The mean of the finite values that fall into each of `count` equal slices; NaN where there are none.
std::vector<double> slice_means(std::span<const double> values, std::size_t count) {
  std::vector<double> means(count, std::numeric_limits<double>::quiet_NaN());
  std::vector<double> sums(count, 0.0);
  std::vector<std::size_t> sizes(count, 0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) continue;
    // i * count / size without overflow trouble: both are far below 2^32 in practice, products below 2^64.
    const std::size_t slice = values.size() > 1 ? i * (count - 1) / (values.size() - 1) : 0;
    sums[slice] += values[i];
    ++sizes[slice];
  }
  for (std::size_t slice = 0; slice < count; ++slice) {
    if (sizes[slice] > 0) means[slice] = sums[slice] / static_cast<double>(sizes[slice]);
  }
  return means;
}

class BrailleCanvas {
 public:
  BrailleCanvas(std::size_t columns, std::size_t rows) : columns_(columns), cells_(columns * rows, 0) {}

  void dot(std::size_t x, std::size_t y) {
    // Unicode numbers the dots 1-2-3-7 down the left side and 4-5-6-8 down the right.
    constexpr unsigned bits[2][4] = {{0x01, 0x02, 0x04, 0x40}, {0x08, 0x10, 0x20, 0x80}};
    cells_[y / 4 * columns_ + x / 2] |= bits[x % 2][y % 4];
  }

  std::string row(std::size_t index) const {
    std::string text;
    for (std::size_t column = 0; column < columns_; ++column) {
      const unsigned cell = cells_[index * columns_ + column];  // U+2800 + cell, as UTF-8
      text += '\xe2';
      text += static_cast<char>(0xa0U | cell >> 6U);
      text += static_cast<char>(0x80U | (cell & 0x3fU));
    }
    return text;
  }

 private:
  std::size_t columns_;
  std::vector<unsigned> cells_;
};

}  // namespace

std::string braille_plot(std::span<const std::int64_t> steps, std::span<const double> values, int columns, int rows) {
  TRIDENT_CHECK(steps.size() == values.size() && columns > 0 && rows > 0);
  const auto width = static_cast<std::size_t>(columns);
  const auto height = static_cast<std::size_t>(rows);
  const std::vector<double> means = slice_means(values, 2 * width);
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (const double mean : means) {
    if (!std::isfinite(mean)) continue;
    low = std::min(low, mean);
    high = std::max(high, mean);
  }
  if (low > high) return {};
  BrailleCanvas canvas(width, height);
  const double range = high / 2 - low / 2;  // halves: the difference of two doubles may not be a double
  const auto dots = static_cast<double>(4 * height - 1);
  for (std::size_t x = 0; x < means.size(); ++x) {
    if (!std::isfinite(means[x])) continue;
    const double depth = range > 0 ? (high / 2 - means[x] / 2) / range : 0.5;
    canvas.dot(x, static_cast<std::size_t>(std::lround(depth * dots)));
  }
  std::string text;
  for (std::size_t row = 0; row < height; ++row) {
    const std::string label = row == 0            ? fmt::format("{:.4g}", high)
                              : row + 1 == height ? fmt::format("{:.4g}", low)
                                                  : "";
    text += fmt::format("{:>9} \u2502{}\n", label, canvas.row(row));
  }
  const std::string first = fmt::format("{}", steps.front());
  const std::string last = fmt::format("step {}", steps.back());
  const std::size_t gap = width > first.size() + last.size() ? width - first.size() - last.size() : 1;
  return text + fmt::format("{:>9}  {}{:{}}{}\n", "loss", first, "", gap, last);
}

}  // namespace trident
