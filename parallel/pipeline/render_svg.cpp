#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>

#include "core/error.h"
#include "parallel/pipeline/render.h"

namespace trident::pipeline {
namespace {

// Geometry, in pixels.
constexpr double kLeft = 76, kTop = 78, kRight = 24, kBottom = 46, kRow = 26, kGap = 10, kCommLane = 5;
constexpr double kDigit = 6.2;  // width of a digit of a microbatch number

constexpr std::string_view kStyle = R"(<style>
  svg { --paper: #ffffff; --ink: #1f2328; --faint: #59636e; --line: #d1d9e0; --lane: #f3f5f7;
        --f: #8fc1f0; --b: #f2b872; --i: #f2a590; --w: #a5d6a0; --comm: #8250df; }
  @media (prefers-color-scheme: dark) {
    svg { --paper: #0d1117; --ink: #e6edf3; --faint: #9198a1; --line: #3d444d; --lane: #161b22;
          --f: #2c6cab; --b: #a4661b; --i: #a8483a; --w: #3a7d3c; --comm: #ab7df8; } }
  text { font: 11px system-ui, sans-serif; fill: var(--ink); }
  .title { font-size: 15px; font-weight: 600; }
  .faint { fill: var(--faint); }
  .n { text-anchor: middle; font-size: 10.5px; pointer-events: none; }
  .end { text-anchor: end; }
  .mid { text-anchor: middle; }
  .paper { fill: var(--paper); } .lane { fill: var(--lane); }
  .grid { stroke: var(--line); stroke-width: 1; }
  .F { fill: var(--f); } .B { fill: var(--b); } .I { fill: var(--i); } .W { fill: var(--w); }
  .box { stroke: var(--paper); stroke-width: .8; }
  .comm { fill: var(--comm); }
</style>
)";

// A round step that makes at most `most` ticks up to `span`: 1, 2 or 5 times a power of ten.
double tick_step(double span, double most) {
  const double least = span / most;
  const double power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= least) return factor * power;
  return 10 * power;
}

bool draws_comm(const Simulation& simulation) {
  return !simulation.transfers.empty() && simulation.transfers[0].end > simulation.transfers[0].start;
}

class SvgWriter {
 public:
  SvgWriter(const Schedule& schedule, const Simulation& simulation)
      : schedule_(schedule), simulation_(simulation), has_comm_(draws_comm(simulation)) {
    const double shortest = shortest_action();
    // Wide enough for numbers in the shortest action, but no wider than a poster.
    const double wanted = shortest > 0 ? simulation.makespan / shortest * 20 : 0;
    plot_width_ = std::clamp(wanted, 640.0, 2400.0);
    scale_ = simulation.makespan > 0 ? plot_width_ / simulation.makespan : 0;
    pitch_ = kRow + kGap + (has_comm_ ? kCommLane : 0);
    bottom_ = kTop + pitch_ * schedule.ranks;
  }

  std::string write() {
    const double width = kLeft + plot_width_ + kRight, height = bottom_ + kBottom;
    add(R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0:.0f} {1:.0f}" width="{0:.0f}" height="{1:.0f}" role="img">)"
        "\n",
        width, height);
    text_ += kStyle;
    add(R"(<rect class="paper" width="{:.0f}" height="{:.0f}"/>)"
        "\n",
        width, height);
    title();
    axis();
    for (int32_t rank = 0; rank < schedule_.ranks; ++rank) row(rank);
    if (has_comm_) transfers();
    return text_ + "</svg>\n";
  }

 private:
  template <class... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
  }

  double x(double time) const { return kLeft + time * scale_; }
  double y(int32_t rank) const { return kTop + pitch_ * rank; }

  double shortest_action() const {
    double shortest = simulation_.makespan;
    for (const auto& list : simulation_.compute)
      for (const TimedAction& timed : list)
        if (timed.end > timed.start) shortest = std::min(shortest, timed.end - timed.start);
    return shortest;
  }

  void title() {
    const int32_t peak = *std::max_element(simulation_.peak_live.begin(), simulation_.peak_live.end());
    const std::string stages =
        schedule_.virtual_stages > 1 ? fmt::format(", {} stages", schedule_.stages()) : std::string();
    add(R"(<title>{} pipeline schedule</title>)"
        "\n",
        schedule_.name);
    add(R"(<text class="title" x="{}" y="24">{}</text>)"
        "\n",
        kLeft, schedule_.name);
    add(R"(<text class="faint" x="{}" y="42">{} ranks{}, {} microbatches · time {:.6g} · bubble {:.1f} % · peak {} )"
        R"(activations</text>)"
        "\n",
        kLeft, schedule_.ranks, stages, schedule_.microbatches, simulation_.makespan, 100 * simulation_.bubble_ratio,
        peak);
    legend();
  }

  void legend() {
    double at = kLeft;
    const auto entry = [&](std::string_view css, std::string_view words) {
      add(R"(<rect class="{}" x="{:.0f}" y="52" width="12" height="12" rx="2"/>)", css, at);
      add(R"(<text class="faint" x="{:.0f}" y="62">{}</text>)"
          "\n",
          at + 17, words);
      at += 34 + 5.8 * static_cast<double>(words.size());
    };
    const bool split = uses(Op::backward_input);
    entry("F", "F forward");
    if (uses(Op::backward)) entry("B", "B backward");
    if (split) entry("I", "I input gradient");
    if (split) entry("W", "W weight gradient");
    if (has_comm_) entry("comm", "transfer, on its sender");
    if (schedule_.virtual_stages > 1)
      add(R"(<text class="faint" x="{:.0f}" y="62">paler: a rank's later stages</text>)"
          "\n",
          at);
  }

  bool uses(Op op) const {
    const auto& list = simulation_.compute.front();
    return std::any_of(list.begin(), list.end(), [&](const TimedAction& timed) { return timed.action.op == op; });
  }

  void axis() {
    if (simulation_.makespan <= 0) return;
    const double step = tick_step(simulation_.makespan, plot_width_ / 70);
    for (double time = 0; time <= simulation_.makespan * (1 + 1e-9); time += step) {
      add(R"(<line class="grid" x1="{0:.1f}" x2="{0:.1f}" y1="{1}" y2="{2:.0f}"/>)", x(time), kTop - 6, bottom_);
      add(R"(<text class="faint mid" x="{:.1f}" y="{:.0f}">{:g}</text>)"
          "\n",
          x(time), bottom_ + 14, std::round(time / step) * step);
    }
    add(R"(<text class="faint" x="{}" y="{:.0f}">time, in the costs' unit</text>)"
        "\n",
        kLeft, bottom_ + 34);
  }

  void row(int32_t rank) {
    add(R"(<text class="end" x="{}" y="{:.0f}">rank {}</text>)", kLeft - 10, y(rank) + kRow / 2 + 4, rank);
    add(R"(<rect class="lane" x="{}" y="{}" width="{:.0f}" height="{}"/>)"
        "\n",
        kLeft, y(rank), plot_width_, kRow);
    for (const TimedAction& timed : simulation_.compute[static_cast<size_t>(rank)]) box(rank, timed);
  }

  // A rank's later virtual stages are paler.
  double opacity(int32_t stage) const {
    const int32_t chunk = stage / schedule_.ranks;
    return schedule_.virtual_stages == 1 ? 1 : 1 - 0.55 * chunk / (schedule_.virtual_stages - 1);
  }

  void box(int32_t rank, const TimedAction& timed) {
    const double width = (timed.end - timed.start) * scale_;
    add(R"(<g><title>{} · {:.6g} to {:.6g}</title>)", to_string(timed.action), timed.start, timed.end);
    add(R"(<rect class="{} box" x="{:.2f}" y="{}" width="{:.2f}" height="{}" rx="2")", op_name(timed.action.op),
        x(timed.start), y(rank), width, kRow);
    if (const double o = opacity(timed.action.stage); o < 1) add(R"( fill-opacity="{:.2f}")", o);
    text_ += "/>";
    const std::string number = std::to_string(timed.action.microbatch);
    if (width >= kDigit * static_cast<double>(number.size()) + 3)
      add(R"(<text class="n" x="{:.2f}" y="{:.0f}">{}</text>)", x(timed.start) + width / 2, y(rank) + kRow / 2 + 4,
          number);
    text_ += "</g>\n";
  }

  void transfers() {
    for (const Transfer& transfer : simulation_.transfers) {
      add(R"(<g><title>{} to rank {} · {:.6g} to {:.6g}</title>)", to_string(transfer.send), transfer.to,
          transfer.start, transfer.end);
      add(R"(<rect class="comm" x="{:.2f}" y="{:.0f}" width="{:.2f}" height="{}"/></g>)"
          "\n",
          x(transfer.start), y(transfer.from) + kRow + 2, std::max((transfer.end - transfer.start) * scale_, 0.8),
          kCommLane - 1);
    }
  }

  const Schedule& schedule_;
  const Simulation& simulation_;
  bool has_comm_;
  double plot_width_ = 0, scale_ = 0, pitch_ = 0, bottom_ = 0;
  std::string text_;
};

}  // namespace

size_t drawn(const Simulation& simulation) {
  size_t boxes = draws_comm(simulation) ? simulation.transfers.size() : 0;
  for (const auto& list : simulation.compute) boxes += list.size();
  return boxes;
}

std::string to_svg(const Schedule& schedule, const Simulation& simulation) {
  TRIDENT_CHECK(drawn(simulation) <= kMaxDrawn, "too much to draw");
  return SvgWriter(schedule, simulation).write();
}

}  // namespace trident::pipeline
