#pragma once

#include <span>
#include <string>
#include <vector>

#include "train/metrics/axis.h"

namespace trident {

/// How a series is drawn. `colour` is one of the page's classes c1..c7.
struct ChartSeries {
  std::string name;  ///< empty: not in the legend
  std::string colour = "c1";
  std::vector<double> values{};  ///< one for each of the chart's `x`, NaN where there is none
  enum class Form { line, faint, dots } form = Form::line;
};

/// A chart over training steps. Millions of points are fine: each pixel column keeps its first, lowest, highest and
/// last value.
struct Chart {
  std::string title;
  std::string unit{};  ///< of the y axis
  int width = 560;
  int height = 240;
  std::vector<double> x{};  ///< steps, ascending
  std::vector<ChartSeries> series{};
  AxisStart y_start = AxisStart::data;
  bool may_be_logarithmic = false;
  std::vector<double> restarts{};   ///< steps marked by a vertical line
  std::vector<double> nonfinite{};  ///< steps marked at the top
};

/// Lines over one another, as one <svg> element that takes its colours from the page's style sheet.
std::string line_chart(const Chart& chart);

/// Layers on one another, the first at the bottom; NaN counts as 0.
std::string stacked_chart(const Chart& chart);

/// The style sheet of charts, light and dark; a page includes it once, a file of its own has it inside.
std::string chart_style();

/// `svg` as a file of its own, with its style.
std::string standalone_svg(std::string svg);

}  // namespace trident
