#include "train/metrics/report_charts.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "train/metrics/rolling_stats.h"

namespace trident {
namespace {

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

template <class Get>
std::vector<double> column(const MetricsHistory& history, Get get) {
  std::vector<double> values;
  values.reserve(history.steps.size());
  for (const StepMetrics& step : history.steps) values.push_back(get(step));
  return values;
}

Chart base(const MetricsHistory& history, std::string title, std::string unit) {
  Chart chart{.title = std::move(title), .unit = std::move(unit)};
  chart.x = column(history, [](const StepMetrics& step) { return static_cast<double>(step.step); });
  for (std::size_t i = 1; i < history.steps.size(); ++i) {
    if (history.steps[i].attempt != history.steps[i - 1].attempt) chart.restarts.push_back(chart.x[i]);
  }
  return chart;
}

template <class Get>
Chart simple_chart(const MetricsHistory& history, std::string title, std::string unit, const std::string& colour,
                   Get get) {
  Chart chart = base(history, std::move(title), std::move(unit));
  chart.series.push_back({.name = "", .colour = colour, .values = column(history, get)});
  return chart;
}

// Raw values faint under their mean where there are enough steps for noise to hide the curve.
void add_smoothed(Chart& chart, std::string name, const std::string& colour, std::vector<double> values) {
  const bool many = values.size() >= 60;
  auto smooth = many ? centred_mean(values, values.size() / 80 + 2) : std::vector<double>();
  chart.series.push_back({.name = many ? name + " (each step)" : name,
                          .colour = colour,
                          .values = std::move(values),
                          .form = many ? ChartSeries::Form::faint : ChartSeries::Form::line});
  if (many) chart.series.push_back({.name = std::move(name), .colour = colour, .values = std::move(smooth)});
}

// Gives the chart a place for every evaluated step and puts the validation losses there.
void add_evaluations(Chart& chart, const std::vector<EvalMetrics>& evaluations) {
  std::vector<double> x;
  ChartSeries validation{.name = "validation", .colour = "c2", .form = ChartSeries::Form::dots};
  std::vector<std::vector<double>> moved(chart.series.size());
  auto evaluation = evaluations.begin();
  std::size_t i = 0;
  while (i < chart.x.size() || evaluation != evaluations.end()) {
    const double eval_step = evaluation != evaluations.end() ? static_cast<double>(evaluation->step) : INFINITY;
    const bool has_step = i < chart.x.size() && chart.x[i] <= eval_step;
    const double here = has_step ? chart.x[i] : eval_step;
    x.push_back(here);
    for (std::size_t s = 0; s < moved.size(); ++s) moved[s].push_back(has_step ? chart.series[s].values[i] : nan);
    validation.values.push_back(here == eval_step ? evaluation->val_loss : nan);
    if (here == eval_step) ++evaluation;
    if (has_step) ++i;
  }
  for (std::size_t s = 0; s < moved.size(); ++s) chart.series[s].values = std::move(moved[s]);
  chart.x = std::move(x);
  chart.series.push_back(std::move(validation));
}

void note_outlier(std::vector<Outlier>& outliers, std::int64_t step, const char* quantity, double value,
                  RollingStats& stats) {
  constexpr double limit = 4;
  const auto z = stats.z_score_and_add(value);
  if (!std::isfinite(value)) {
    outliers.push_back({.step = step, .quantity = quantity, .value = value, .z = INFINITY});
  } else if (z && *z > limit) {
    outliers.push_back({.step = step, .quantity = quantity, .value = value, .z = *z});
  }
}

}  // namespace

Chart loss_chart(const MetricsHistory& history) {
  Chart chart = base(history, "Loss", "mean over label tokens, nats");
  chart.width = 1140;
  chart.height = 340;
  chart.may_be_logarithmic = true;
  for (const StepMetrics& step : history.steps) {
    if (!std::isfinite(step.loss)) chart.nonfinite.push_back(static_cast<double>(step.step));
  }
  add_smoothed(chart, "training", "c1", column(history, [](const StepMetrics& step) { return step.loss; }));
  if (!history.evaluations.empty()) add_evaluations(chart, history.evaluations);
  return chart;
}

Chart learning_rate_chart(const MetricsHistory& history) {
  Chart chart = simple_chart(history, "Learning rate", "", "c3", [](const StepMetrics& step) { return step.lr; });
  chart.y_start = AxisStart::zero;
  return chart;
}

Chart gradient_norm_chart(const MetricsHistory& history) {
  Chart chart = base(history, "Gradient norm", "global L2, before clipping");
  chart.may_be_logarithmic = true;
  chart.y_start = AxisStart::zero;
  for (const StepMetrics& step : history.steps) {
    if (!std::isfinite(step.grad_norm)) chart.nonfinite.push_back(static_cast<double>(step.step));
  }
  add_smoothed(chart, "", "c5", column(history, [](const StepMetrics& step) { return step.grad_norm; }));
  for (ChartSeries& series : chart.series) series.name.clear();
  return chart;
}

Chart throughput_chart(const MetricsHistory& history) {
  Chart chart = base(history, "Throughput", "tokens/s, all ranks");
  chart.y_start = AxisStart::zero;
  add_smoothed(chart, "", "c3", column(history, [](const StepMetrics& step) { return step.tokens_per_s; }));
  for (ChartSeries& series : chart.series) series.name.clear();
  return chart;
}

Chart memory_chart(const MetricsHistory& history) {
  Chart chart = simple_chart(history, "Memory", "GiB, highest rank", "c6",
                             [](const StepMetrics& step) { return step.memory_gib_max; });
  chart.y_start = AxisStart::zero;
  return chart;
}

Chart mfu_chart(const MetricsHistory& history) {
  Chart chart = simple_chart(history, "Model FLOPs utilisation", "%", "c4",
                             [](const StepMetrics& step) { return step.mfu.value_or(nan) * 100; });
  chart.y_start = AxisStart::zero;
  return chart;
}

Chart phase_chart(const MetricsHistory& history) {
  Chart chart = base(history, "Where a step's time goes", "seconds");
  chart.width = 1140;
  chart.height = 280;
  const auto add = [&](const char* name, const char* colour, auto get) {
    chart.series.push_back({.name = name, .colour = colour, .values = column(history, get)});
  };
  add("compute", "c1", [](const StepMetrics& step) { return step.time_s.compute; });
  add("communication", "c2", [](const StepMetrics& step) { return step.time_s.comm; });
  add("bubble", "c4", [](const StepMetrics& step) { return step.time_s.bubble; });
  add("data", "c3", [](const StepMetrics& step) { return step.time_s.data; });
  add("optimizer", "c5", [](const StepMetrics& step) { return step.time_s.optimizer; });
  add("checkpoint", "c6", [](const StepMetrics& step) { return step.time_s.checkpoint; });
  add("other", "c7", [](const StepMetrics& step) {
    const PhaseSeconds& time = step.time_s;
    const double known = time.compute + time.comm + time.bubble + time.data + time.optimizer + time.checkpoint;
    return std::max(step.step_s - known, 0.0);
  });
  return chart;
}

std::vector<Outlier> find_outliers(const MetricsHistory& history) {
  std::vector<Outlier> outliers;
  RollingStats loss;
  RollingStats norm;
  for (const StepMetrics& step : history.steps) {
    note_outlier(outliers, step.step, "loss", step.loss, loss);
    note_outlier(outliers, step.step, "gradient norm", step.grad_norm, norm);
  }
  return outliers;
}

std::vector<double> centred_mean(const std::vector<double>& values, std::size_t radius) {
  const std::size_t size = values.size();
  std::vector<double> sums(size + 1, 0.0);
  std::vector<std::size_t> counts(size + 1, 0);
  for (std::size_t i = 0; i < size; ++i) {
    const bool finite = std::isfinite(values[i]);
    sums[i + 1] = sums[i] + (finite ? values[i] : 0.0);
    counts[i + 1] = counts[i] + (finite ? 1U : 0U);
  }
  std::vector<double> means(size, nan);
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t reach = std::min({radius, i, size - 1 - i});
    const std::size_t count = counts[i + reach + 1] - counts[i - reach];
    if (count > 0) means[i] = (sums[i + reach + 1] - sums[i - reach]) / static_cast<double>(count);
  }
  return means;
}

}  // namespace trident
