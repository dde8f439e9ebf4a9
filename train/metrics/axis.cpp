#include "train/metrics/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace trident {
namespace {

// 1, 2 or 5 times a power of ten, the first at or above `rough`.
double round_step(double rough) {
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (rough <= factor * power * (1 + 1e-9)) return factor * power;
  }
  return 10 * power;
}

std::vector<double> linear_ticks(double low, double high, int wanted) {
  const double step = round_step((high - low) / std::max(wanted, 1));
  std::vector<double> ticks;
  if (!std::isfinite(step) || step <= 0) return ticks;
  for (double index = std::ceil(low / step - 1e-9); index * step <= high + 1e-9 * step && ticks.size() < 50; ++index) {
    ticks.push_back(index * step + 0.0);
  }
  return ticks;
}

std::vector<double> logarithmic_ticks(double low, double high) {
  const int first = static_cast<int>(std::floor(std::log10(low)));
  const int last = static_cast<int>(std::ceil(std::log10(high)));
  const int stride = std::max(1, (last - first) / 8);
  std::vector<double> ticks;
  for (int exponent = first; exponent <= last; exponent += stride) {
    const bool few = last - first <= 3;
    for (const double factor : {1.0, 2.0, 5.0}) {
      const double value = factor * std::pow(10.0, exponent);
      if ((factor == 1.0 || few) && value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9)) ticks.push_back(value);
    }
  }
  return ticks;
}

double quantile(const std::vector<double>& sorted, double fraction) {
  const double place = fraction * static_cast<double>(sorted.size() - 1);
  return sorted[static_cast<std::size_t>(std::lround(place))];
}

// Values beyond three times the span of the middle 99 % are spikes.
void cut_spikes(AxisRange& axis, const std::vector<double>& sorted) {
  const double low = quantile(sorted, 0.005);
  const double high = quantile(sorted, 0.995);
  const double reach = 3 * (high - low);
  if (reach <= 0 || sorted.size() < 50) return;
  if (axis.high > high + reach) {
    axis.high = *std::prev(std::upper_bound(sorted.begin(), sorted.end(), high + reach));
    axis.cut = true;
  }
  if (axis.low < low - reach) {
    axis.low = *std::lower_bound(sorted.begin(), sorted.end(), low - reach);
    axis.cut = true;
  }
}

}  // namespace

double AxisRange::position(double value) const {
  if (scale == Scale::linear) return (value / 2 - low / 2) / (high / 2 - low / 2);
  if (value <= 0) return -1;
  return std::log(value / low) / std::log(high / low);
}

std::vector<double> AxisRange::ticks(int wanted) const {
  return scale == Scale::linear ? linear_ticks(low, high, wanted) : logarithmic_ticks(low, high);
}

AxisRange fit_axis(std::span<const std::span<const double>> values, AxisStart start, bool may_be_logarithmic) {
  constexpr double largest = 1e300;  // beyond, ranges overflow
  std::vector<double> sorted;
  for (const auto& part : values) {
    std::copy_if(part.begin(), part.end(), std::back_inserter(sorted),
                 [](double value) { return std::abs(value) < largest; });
  }
  if (sorted.empty()) return {};
  std::sort(sorted.begin(), sorted.end());
  AxisRange axis{.low = sorted.front(), .high = sorted.back()};
  if (may_be_logarithmic && axis.low > 0 && quantile(sorted, 0.99) > 30 * quantile(sorted, 0.01)) {
    axis.scale = Scale::logarithmic;
    axis.low /= 1.1;
    axis.high *= 1.1;
    return axis;
  }
  cut_spikes(axis, sorted);
  if (start == AxisStart::zero) {
    axis.low = std::min(axis.low, 0.0);
    axis.high = std::max(axis.high, 0.0);
  }
  double margin = (axis.high - axis.low) * 0.05;
  if (margin <= std::abs(axis.high) * 1e-9) margin = axis.high == 0 ? 0.5 : std::abs(axis.high) * 0.1;
  axis.high += margin;
  if (start == AxisStart::data || axis.low < 0) axis.low -= margin;
  return axis;
}

std::string tick_text(double value, double spacing) {
  if (value == 0) return "0";
  const double size = std::max(std::abs(value), std::abs(spacing));
  if (size < 1e-3 || size >= 1e15) return fmt::format("{:.3g}", value);
  constexpr std::array units{std::pair{1e12, "T"}, std::pair{1e9, "B"}, std::pair{1e6, "M"}, std::pair{1e3, "k"}};
  double unit = 1;
  std::string suffix;
  for (const auto& [scale, name] : units) {
    if (std::abs(value) >= scale * (1 - 1e-9) && (scale > 1e3 || std::abs(value) >= 9999.5)) {
      unit = scale;
      suffix = name;
      break;
    }
  }
  const double relative = spacing > 0 ? spacing / unit : std::abs(value) / unit / 100;
  const int decimals = std::clamp(static_cast<int>(std::ceil(-std::log10(relative) - 1e-9)), 0, 9);
  return fmt::format("{:.{}f}{}", value / unit, decimals, suffix);
}

}  // namespace trident
