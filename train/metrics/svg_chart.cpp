#include "train/metrics/svg_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>
#include <string_view>

#include "core/error.h"
#include "train/metrics/html_text.h"

namespace trident {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

// The drawing area within the picture, in pixels.
struct Frame {
  double left = 58;
  double top = 34;
  double right = 14;
  double bottom = 28;
  double width = 0;
  double height = 0;
  AxisRange x_axis;
  AxisRange y_axis;

  double x(double step) const { return x_axis.position(step) * width; }
  // Far outside is near enough outside: renderers dislike huge coordinates.
  double y(double value) const { return std::clamp((1 - y_axis.position(value)) * height, -4 * height, 5 * height); }
};

struct Point {
  double x = nan;
  double y = nan;
};

AxisRange step_axis(const std::vector<double>& steps) {
  if (steps.empty()) return {};
  if (steps.front() == steps.back()) return {.low = steps.front() - 1, .high = steps.front() + 1};
  return {.low = steps.front(), .high = steps.back()};
}

Frame make_frame(const Chart& chart, AxisRange y_axis) {
  Frame frame;
  frame.width = chart.width - frame.left - frame.right;
  frame.height = chart.height - frame.top - frame.bottom;
  frame.x_axis = step_axis(chart.x);
  frame.y_axis = y_axis;
  return frame;
}

// Keeps of each pixel column the first, lowest, highest and last point, in their order. A column without any finite
// value yields one gap, a NaN.
class PixelColumns {
 public:
  void add(double x, double y) {
    const double column = std::floor(x);
    if (column != column_) flush();
    column_ = column;
    if (!std::isfinite(y)) return;
    const Point point{x, y};
    if (!any_) first_ = lowest_ = highest_ = point;
    any_ = true;
    if (y < lowest_.y) lowest_ = point;
    if (y > highest_.y) highest_ = point;
    last_ = point;
  }

  std::vector<Point> take() {
    flush();
    return std::move(points_);
  }

 private:
  void flush() {
    if (std::isnan(column_)) return;
    if (any_) {
      push(first_);
      push(lowest_.x <= highest_.x ? lowest_ : highest_);
      push(lowest_.x <= highest_.x ? highest_ : lowest_);
      push(last_);
    } else {
      points_.emplace_back();
    }
    any_ = false;
  }

  void push(const Point& point) {
    if (points_.empty() || points_.back().x != point.x || points_.back().y != point.y) points_.push_back(point);
  }

  double column_ = nan;
  bool any_ = false;
  Point first_, lowest_, highest_, last_;
  std::vector<Point> points_;
};

// One pixel number, short: 12.3, not 12.300000.
void put(std::string& out, double value) {
  std::string text = fmt::format("{:.1f}", value);
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  out += text == "-0" ? "0" : text;
}

void put(std::string& out, char command, const Point& point) {
  out += command;
  put(out, point.x);
  out += ' ';
  put(out, point.y);
}

std::string line_path(const std::vector<Point>& points) {
  std::string path;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (std::isnan(points[i].y)) continue;
    const bool starts = i == 0 || std::isnan(points[i - 1].y);
    const bool ends = i + 1 == points.size() || std::isnan(points[i + 1].y);
    put(path, starts ? 'M' : 'L', points[i]);
    if (starts && ends) path += "h.01";  // a lone point; its round cap shows
  }
  return path;
}

std::string draw_dots(const std::vector<Point>& points, const std::string& colour) {
  std::string out;
  for (const Point& point : points) {
    if (!std::isnan(point.y)) {
      fmt::format_to(std::back_inserter(out), R"(<circle class="dot {}" cx="{:.1f}" cy="{:.1f}" r="3"/>)", colour,
                     point.x, point.y);
    }
  }
  return out;
}

std::string draw_series(const Frame& frame, const std::vector<double>& x, const ChartSeries& series) {
  const bool gaps_matter = series.form != ChartSeries::Form::dots;
  PixelColumns columns;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double value = series.values[i];
    if (std::isfinite(value)) {
      columns.add(frame.x(x[i]), frame.y(value));
    } else if (gaps_matter) {
      columns.add(frame.x(x[i]), nan);
    }
  }
  const std::vector<Point> points = columns.take();
  if (!gaps_matter) {
    return fmt::format(R"(<path class="thin {}" d="{}"/>)", series.colour, line_path(points)) +
           draw_dots(points, series.colour);
  }
  const char* form = series.form == ChartSeries::Form::faint ? "faint" : "line";
  return fmt::format(R"(<path class="{} {}" d="{}"/>)", form, series.colour, line_path(points));
}

std::string text_at(double x, double y, std::string_view classes, std::string_view text) {
  return fmt::format(R"(<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>)", classes, x, y, html_escape(text));
}

std::string horizontal_grid(const Frame& frame) {
  std::string out;
  const auto ticks = frame.y_axis.ticks(std::max(3, static_cast<int>(frame.height / 36)));
  const bool linear = frame.y_axis.scale == Scale::linear;
  const double spacing = linear && ticks.size() > 1 ? ticks[1] - ticks[0] : 0;
  for (const double tick : ticks) {
    const double y = frame.top + frame.y(tick);
    out += fmt::format(R"(<path class="grid" d="M{:.1f} {:.1f}h{:.1f}"/>)", frame.left, y, frame.width);
    out += text_at(frame.left - 8, y + 4, "tick end", linear ? tick_text(tick, spacing) : fmt::format("{:.3g}", tick));
  }
  return out;
}

std::string step_ticks(const Frame& frame) {
  std::string out;
  const double base = frame.top + frame.height;
  auto ticks = frame.x_axis.ticks(std::max(3, static_cast<int>(frame.width / 90)));
  std::erase_if(ticks, [](double tick) { return tick != std::floor(tick); });
  const double spacing = ticks.size() > 1 ? ticks[1] - ticks[0] : 1;
  for (const double tick : ticks) {
    const double x = frame.left + frame.x(tick);
    out += fmt::format(R"(<path class="axis" d="M{:.1f} {:.1f}v4"/>)", x, base);
    out += text_at(x, base + 18, "tick middle", tick_text(tick, spacing));
  }
  out += fmt::format(R"(<path class="axis" d="M{:.1f} {:.1f}h{:.1f}"/>)", frame.left, base, frame.width);
  return out + text_at(frame.left - 8, base + 18, "tick end", "step");
}

std::string legend(const Chart& chart) {
  std::string out;
  double x = chart.width - 14;
  // From the right edge on, the last series first.
  for (size_t left = chart.series.size(); left > 0; --left) {
    const auto* series = &chart.series[left - 1];
    if (series->name.empty()) continue;
    out += text_at(x, 20, "tick end", series->name);
    x -= 6.3 * static_cast<double>(series->name.size()) + 16;  // about the width of the text
    out += fmt::format(R"(<path class="key {}{}" d="M{:.1f} 16h10"/>)", series->colour,
                       series->form == ChartSeries::Form::faint ? " pale" : "", x);
    x -= 12;
  }
  return out;
}

std::string heading(const Chart& chart, const Frame& frame) {
  std::string unit = chart.unit;
  if (frame.y_axis.scale == Scale::logarithmic) unit += unit.empty() ? "log scale" : ", log scale";
  if (frame.y_axis.cut) unit += unit.empty() ? "spikes cut" : ", spikes cut";
  std::string out = fmt::format(R"(<text class="title" x="14" y="20">{})", html_escape(chart.title));
  if (!unit.empty()) out += fmt::format(R"(<tspan class="tick" dx="8">{}</tspan>)", html_escape(unit));
  return out + "</text>";
}

// Steps closer than a pixel are one mark, so that any number of them stays small.
std::vector<double> distinct_pixels(const Frame& frame, const std::vector<double>& steps) {
  std::vector<double> pixels;
  for (const double step : steps) {
    const double pixel = std::round(frame.x(step));
    if (pixel >= 0 && pixel <= frame.width && (pixels.empty() || pixels.back() != pixel)) pixels.push_back(pixel);
  }
  return pixels;
}

std::string marks(const Chart& chart, const Frame& frame) {
  std::string out;
  const auto restarts = distinct_pixels(frame, chart.restarts);
  for (const double x : restarts) {
    out += fmt::format(R"(<path class="restart" d="M{:.1f} {:.1f}v{:.1f}"><title>restart</title></path>)",
                       frame.left + x, frame.top, frame.height);
  }
  if (frame.width > 700 && restarts.size() <= 12) {
    for (const double x : restarts) {
      const bool flip = x > frame.width - 50;
      out += text_at(frame.left + x + (flip ? -4 : 4), frame.top + 10, flip ? "note end" : "note", "restart");
    }
  }
  std::string bad;
  const auto nonfinite = distinct_pixels(frame, chart.nonfinite);
  if (nonfinite.size() == 1) out += text_at(frame.left + nonfinite[0] - 4, frame.top + 10, "note end", "not finite");
  for (const double x : nonfinite) {
    bad += fmt::format("M{:.1f} {:.1f}v8", frame.left + x, frame.top);
  }
  if (!bad.empty()) out += fmt::format(R"(<path class="bad" d="{}"><title>not finite</title></path>)", bad);
  return out;
}

std::string picture(const Chart& chart, const Frame& frame, const std::string& drawing, bool empty) {
  std::string out = fmt::format(R"(<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">)", chart.width,
                                chart.height, html_escape(chart.title));
  out += heading(chart, frame) + legend(chart);
  if (empty && chart.nonfinite.empty()) {
    out += text_at(chart.width / 2.0, chart.height / 2.0, "tick middle", "no data");
    return out + "</svg>\n";
  }
  out += horizontal_grid(frame) + step_ticks(frame);
  out += fmt::format(R"(<svg x="{}" y="{}" width="{}" height="{}" overflow="hidden">{}</svg>)", frame.left, frame.top,
                     frame.width, frame.height, drawing);
  return out + marks(chart, frame) + "</svg>\n";
}

// The mean of each pixel column, for layers whose sum must stay what it is.
struct ColumnMeans {
  std::vector<double> x;
  std::vector<std::vector<double>> layers;
};

ColumnMeans column_means(const Chart& chart, double pixels) {
  ColumnMeans means;
  means.layers.resize(chart.series.size());
  const AxisRange axis = step_axis(chart.x);
  for (std::size_t begin = 0; begin < chart.x.size();) {
    const double column = std::floor(axis.position(chart.x[begin]) * pixels);
    std::size_t end = begin;
    while (end < chart.x.size() && std::floor(axis.position(chart.x[end]) * pixels) == column) ++end;
    means.x.push_back(chart.x[begin]);
    for (std::size_t layer = 0; layer < chart.series.size(); ++layer) {
      double sum = 0;
      for (std::size_t i = begin; i < end; ++i) {
        const double value = chart.series[layer].values[i];
        if (std::isfinite(value)) sum += value;
      }
      means.layers[layer].push_back(sum / static_cast<double>(end - begin));
    }
    begin = end;
  }
  return means;
}

// A filled band between two edges; the last value is held to the right edge so that one step shows too.
std::string band(const Frame& frame, const std::vector<double>& x, const std::vector<double>& low,
                 const std::vector<double>& high, const std::string& colour) {
  std::string path;
  for (std::size_t i = 0; i < x.size(); ++i) put(path, i == 0 ? 'M' : 'L', {frame.x(x[i]), frame.y(high[i])});
  put(path, 'L', {frame.width, frame.y(high.back())});
  put(path, 'L', {frame.width, frame.y(low.back())});
  for (std::size_t i = x.size(); i-- > 0;) put(path, 'L', {frame.x(x[i]), frame.y(low[i])});
  return fmt::format(R"(<path class="band {}" d="{}Z"/>)", colour, path);
}

}  // namespace

std::string line_chart(const Chart& chart) {
  std::vector<std::span<const double>> values;
  for (const ChartSeries& series : chart.series) {
    TRIDENT_CHECK(series.values.size() == chart.x.size());
    values.emplace_back(series.values);
  }
  const Frame frame = make_frame(chart, fit_axis(values, chart.y_start, chart.may_be_logarithmic));
  std::string drawing;
  for (const ChartSeries& series : chart.series) drawing += draw_series(frame, chart.x, series);
  const bool any = std::any_of(values.begin(), values.end(), [](std::span<const double> part) {
    return std::any_of(part.begin(), part.end(), [](double value) { return std::isfinite(value); });
  });
  return picture(chart, frame, drawing, !any);
}

std::string stacked_chart(const Chart& chart) {
  for (const ChartSeries& series : chart.series) TRIDENT_CHECK(series.values.size() == chart.x.size());
  const Frame pixels = make_frame(chart, {});
  const ColumnMeans means = column_means(chart, pixels.width);
  std::vector<std::vector<double>> edges{std::vector<double>(means.x.size(), 0.0)};
  for (const auto& layer : means.layers) {
    std::vector<double> edge = edges.back();
    for (std::size_t i = 0; i < edge.size(); ++i) edge[i] += layer[i];
    edges.push_back(std::move(edge));
  }
  const std::vector<std::span<const double>> top{edges.back()};
  const Frame frame = make_frame(chart, fit_axis(top, AxisStart::zero, false));
  std::string drawing;
  for (std::size_t layer = 0; layer < means.layers.size() && !means.x.empty(); ++layer) {
    drawing += band(frame, means.x, edges[layer], edges[layer + 1], chart.series[layer].colour);
  }
  return picture(chart, frame, drawing, means.x.empty());
}

std::string chart_style() {
  return R"(
:root{--ink:#1b1f24;--soft:#5c6670;--rule:#e3e6ea;--axis:#aab2bb;--paper:#fff;
--c1:#2563c9;--c2:#d9601a;--c3:#16896a;--c4:#c99400;--c5:#7a4fc4;--c6:#c23b6b;--c7:#b8bfc7;--warn:#cf222e}
@media (prefers-color-scheme:dark){:root{--ink:#e8eaed;--soft:#98a2ad;--rule:#2b3138;--axis:#5a6470;--paper:#171b20;
--c1:#5b9bf5;--c2:#f08a4b;--c3:#3fbf97;--c4:#e0b23c;--c5:#a98bea;--c6:#ea6f9b;--c7:#4a535d;--warn:#ff7b72}}
.chart{display:block;width:100%;height:auto;font-family:system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
.chart text{fill:var(--ink);font-size:12px}
.chart .title{font-size:14px;font-weight:600}
.chart .tick{fill:var(--soft);font-size:11.5px;font-weight:400;font-variant-numeric:tabular-nums}
.chart .note{fill:var(--warn);font-size:10px}
.chart .end{text-anchor:end}.chart .middle{text-anchor:middle}
.chart path{fill:none;stroke-linejoin:round;stroke-linecap:round}
.chart .grid{stroke:var(--rule)}.chart .axis{stroke:var(--axis)}
.chart .line{stroke-width:1.8}.chart .thin{stroke-width:1.2;stroke-dasharray:3 3}
.chart .faint{stroke-width:1;opacity:.35}.chart .key{stroke-width:3}.chart .pale{opacity:.35}
.chart .restart{stroke:var(--warn);stroke-dasharray:3 3;opacity:.8}.chart .bad{stroke:var(--warn);stroke-width:2}
.c1{stroke:var(--c1)}.c2{stroke:var(--c2)}.c3{stroke:var(--c3)}.c4{stroke:var(--c4)}.c5{stroke:var(--c5)}.c6{stroke:var(--c6)}.c7{stroke:var(--c7)}
.chart .dot{stroke:var(--paper);stroke-width:1}
.dot.c1{fill:var(--c1)}.dot.c2{fill:var(--c2)}
.chart .paper{fill:var(--paper)}
.chart .band{stroke:none}
.band.c1{fill:var(--c1)}.band.c2{fill:var(--c2)}.band.c3{fill:var(--c3)}.band.c4{fill:var(--c4)}.band.c5{fill:var(--c5)}.band.c6{fill:var(--c6)}.band.c7{fill:var(--c7)}
)";
}

std::string standalone_svg(std::string svg) {
  const std::size_t inside = svg.find('>') + 1;
  svg.insert(inside, "<style>" + chart_style() + R"(</style><rect width="100%" height="100%" class="paper"/>)");
  svg.insert(svg.find("<svg") + 4, R"( xmlns="http://www.w3.org/2000/svg")");
  return svg;
}

}  // namespace trident
