#pragma once

#include <span>
#include <string>
#include <vector>

namespace trident {

enum class Scale { linear, logarithmic };

/// What an axis shows and where its ticks are.
struct AxisRange {
  double low = 0;
  double high = 1;
  Scale scale = Scale::linear;
  bool cut = false;  ///< some values lie outside: a few spikes would have flattened everything else

  /// 0 at `low`, 1 at `high`; beyond for what was cut.
  double position(double value) const;
  /// Round numbers within the range; about `wanted` of them on a linear axis.
  std::vector<double> ticks(int wanted) const;
};

/// Whether an axis begins at zero or where its values begin.
enum class AxisStart { zero, data };

/// A range that fits the finite ones of all `values`, widened to be readable: never empty, spikes cut, and
/// logarithmic where that is allowed and the values span more than a factor of thirty.
AxisRange fit_axis(std::span<const std::span<const double>> values, AxisStart start, bool may_be_logarithmic);

/// A tick's text, with as many digits as its neighbours need: 0.002, 1.5, 20k.
std::string tick_text(double value, double spacing);

}  // namespace trident
