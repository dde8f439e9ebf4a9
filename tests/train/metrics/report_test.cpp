#include "train/metrics/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

#include "core/error.h"
#include "tests/scratch_dir.h"
#include "train/metrics/axis.h"
#include "train/metrics/html_text.h"
#include "train/metrics/report_charts.h"
#include "train/metrics/svg_chart.h"

namespace trident {
namespace {

using test::read_file;
using test::ScratchDir;
using testing::HasSubstr;
using testing::Not;

MetricsHistory history_of(std::int64_t steps) {
  MetricsHistory history;
  std::mt19937 random(3);
  for (std::int64_t step = 1; step <= steps; ++step) {
    StepMetrics metrics;
    metrics.step = step;
    metrics.loss = 2 + 3.0 / static_cast<double>(step) + 1e-9 * static_cast<double>(random() % 100'000'000);
    metrics.grad_norm = 1 + 1e-9 * static_cast<double>(random() % 100'000'000);
    metrics.lr = 1e-3;
    metrics.step_s = 0.1 + 1e-9 * static_cast<double>(random() % 10'000'000);
    metrics.tokens = step * 100;
    metrics.tokens_per_s = 100 / metrics.step_s;
    metrics.time_s.compute = 0.08;
    metrics.mfu = 0.4;
    history.steps.push_back(metrics);
  }
  history.last_attempt = 1;
  return history;
}

std::string page_of(MetricsHistory history, std::vector<EventRecord> events = {}, std::string config = {},
                    std::string name = {}) {
  ReportData data;
  data.facts.run_name = std::move(name);
  data.history = std::move(history);
  data.events = std::move(events);
  data.config = std::move(config);
  return render_report(data);
}

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(Report, RunsOfAnyLengthMakeAPageThatNeedsNothingElse) {
  for (const std::int64_t steps : {0, 1, 2, 3, 59, 60, 1000}) {
    const std::string page = page_of(history_of(steps));
    EXPECT_THAT(page, testing::StartsWith("<!DOCTYPE html>"));
    EXPECT_THAT(page, testing::EndsWith("</html>\n"));
    for (const char* outside : {"http:", "https:", "<script", "<link", "url(", "src="}) {
      EXPECT_EQ(count(page, outside), 0U) << outside << " with " << steps;
    }
    for (const char* bad : {"nan", "inf,", "inf "}) EXPECT_EQ(count(page, bad), 0U) << bad << " with " << steps;
    EXPECT_EQ(count(page, "<svg"), count(page, "</svg>"));
    EXPECT_EQ(count(page, "<section"), count(page, "</section>"));
    EXPECT_EQ(count(page, "<div"), count(page, "</div>"));
  }
}

TEST(Report, EverythingForeignIsEscaped) {
  const std::string evil = "<script>alert('x')</script>\" onload=\"\xff\x01&";
  EventRecord fault;
  fault.event = RunEvent::fault;
  fault.host = fault.cause = fault.phase = fault.detail = fault.ts = evil;
  EventRecord sample = fault;
  sample.event = RunEvent::sample;
  const std::string page = page_of(history_of(2), {fault, sample}, evil, evil);
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, Not(HasSubstr("\" onload")));
  EXPECT_THAT(page, Not(HasSubstr("\xff")));
  EXPECT_GE(count(page, "&lt;script&gt;"), 6U);
}

TEST(Report, ExtremeValuesLeaveThePageWhole) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const std::vector<double> values{NAN, inf, -inf, 1e308, -1e308, 5e-324, 0.0, -1.0, 1.0};
  MetricsHistory history;
  for (std::int64_t step = 0; step < 200; ++step) {
    const double value = values[static_cast<std::size_t>(step * 7 % 9)];
    StepMetrics metrics;
    metrics.step = step % 2 == 0 ? step : step + (std::int64_t{1} << 61U);
    metrics.loss = metrics.grad_norm = metrics.lr = metrics.step_s = metrics.tokens_per_s = value;
    metrics.memory_gib_max = metrics.time_s.compute = metrics.time_s.bubble = value;
    metrics.mfu = value;
    history.steps.push_back(metrics);
  }
  std::sort(history.steps.begin(), history.steps.end(),
            [](const StepMetrics& a, const StepMetrics& b) { return a.step < b.step; });
  const std::string page = page_of(history);
  EXPECT_EQ(count(page, "<svg"), count(page, "</svg>"));
  EXPECT_EQ(count(page, "nan"), 0U);
}

TEST(Report, AMillionStepsStayBelowOneMegabyte) {
  MetricsHistory history = history_of(1'000'000);
  for (std::int64_t step = 500; step <= 1'000'000; step += 500)
    history.evaluations.push_back({.step = step, .val_loss = 2});
  std::vector<EventRecord> events(20'000);
  for (EventRecord& event : events) event.detail = std::string(5000, 'd');
  for (std::size_t i = 0; i < events.size(); i += 2) events[i].event = RunEvent::sample;
  const std::string page = page_of(history, events, std::string(1 << 20, 'c'));
  EXPECT_LT(page.size(), std::size_t{1} << 20U);
}

TEST(Report, CountsRestartsAndMarksThem) {
  MetricsHistory history = history_of(100);
  for (std::size_t i = 60; i < 100; ++i) history.steps[i].attempt = 2;
  history.last_attempt = 2;
  EXPECT_EQ(loss_chart(history).restarts, std::vector<double>{61});
  const std::string page = page_of(history);
  EXPECT_THAT(page, HasSubstr("<title>restart</title>"));
  EXPECT_THAT(page, HasSubstr("2 attempts"));
}

TEST(Report, TheLossCurveIsAFileOfItsOwn) {
  const ScratchDir folder;
  write_loss_curve(history_of(500), folder.path() / "loss.svg");
  const std::string svg = read_file(folder.path() / "loss.svg");
  EXPECT_THAT(svg, testing::StartsWith("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_THAT(svg, HasSubstr("prefers-color-scheme:dark"));
  EXPECT_THROW(write_loss_curve(history_of(2), folder.path() / "no" / "loss.svg"), Error);
}

TEST(LossChart, ValidationStandsAtItsStepEvenWhereTrainingHasNone) {
  MetricsHistory history = history_of(3);
  history.evaluations = {{.step = 0, .val_loss = 9}, {.step = 2, .val_loss = 8}, {.step = 7, .val_loss = 7}};
  const Chart chart = loss_chart(history);
  EXPECT_EQ(chart.x, (std::vector<double>{0, 1, 2, 3, 7}));
  const auto& validation = chart.series.back().values;
  ASSERT_EQ(validation.size(), 5U);
  EXPECT_EQ(validation[0], 9);
  EXPECT_EQ(validation[2], 8);
  EXPECT_EQ(validation[4], 7);
  EXPECT_TRUE(std::isnan(validation[1]) && std::isnan(validation[3]));
  EXPECT_TRUE(std::isnan(chart.series[0].values[0]));
  EXPECT_EQ(chart.series[0].values[2], history.steps[1].loss);
}

TEST(LineChart, KeepsASpikeOfOneStepInAMillion) {
  Chart chart{.title = "t"};
  ChartSeries series{.name = "s"};
  for (int i = 0; i < 1'000'000; ++i) {
    chart.x.push_back(i);
    series.values.push_back(i == 654'321 ? 2.0 : 1.0 + 0.3 * (i % 2));
  }
  chart.series.push_back(series);
  const std::string svg = line_chart(chart);
  EXPECT_LT(svg.size(), 60'000U);
  // The axis reaches 5 % beyond the values, 0.95 to 2.05, over 178 pixels.
  EXPECT_THAT(svg, HasSubstr(" 8.1L"));
}

TEST(LineChart, NonFiniteValuesBreakTheLine) {
  Chart chart{.title = "t", .x = {1, 2, 3, 4, 5}};
  chart.series.push_back({.name = "s", .values = {1, 2, NAN, 4, 5}});
  EXPECT_EQ(count(line_chart(chart), "\"line c1\" d=\"M"), 1U);
  const std::string svg = line_chart(chart);
  const std::string path = svg.substr(svg.find("line c1"));
  EXPECT_EQ(count(path.substr(0, path.find("/>")), "M"), 2U);
}

TEST(Axis, TicksAreRoundAndInside) {
  const AxisRange axis{.low = 1.83, .high = 5.6};
  EXPECT_THAT(axis.ticks(5), testing::ElementsAre(2, 3, 4, 5));
  const AxisRange wide{.low = 0.02, .high = 900, .scale = Scale::logarithmic};
  EXPECT_THAT(wide.ticks(5), testing::Pointwise(testing::DoubleNear(1e-9), {0.1, 1.0, 10.0, 100.0}));
  std::mt19937_64 random(1);
  for (int round = 0; round < 2000; ++round) {
    const double low = std::ldexp(static_cast<double>(random() % 1000), static_cast<int>(random() % 80) - 60);
    const double high = low + std::ldexp(1.0, static_cast<int>(random() % 80) - 30);
    if (high <= low * (1 + 1e-6)) continue;
    const auto ticks = AxisRange{.low = low, .high = high}.ticks(6);
    EXPECT_GE(ticks.size(), 2U) << low << " " << high;
    EXPECT_LE(ticks.size(), 14U);
    for (const double tick : ticks)
      EXPECT_TRUE(tick >= low - 1e-6 * (high - low) && tick <= high + 1e-6 * (high - low));
  }
}

TEST(Axis, TickTextHasTheDigitsItNeeds) {
  EXPECT_EQ(tick_text(0.0015, 0.0005), "0.0015");
  EXPECT_EQ(tick_text(20000, 10000), "20k");
  EXPECT_EQ(tick_text(2500, 500), "2500");
  EXPECT_EQ(tick_text(1500000, 500000), "1.5M");
  EXPECT_EQ(tick_text(3, 1), "3");
  EXPECT_EQ(tick_text(1e-5, 1e-5), "1e-05");
}

TEST(Axis, OneValueAndNoValueStillMakeARange) {
  for (const std::vector<double>& values : {std::vector<double>{}, {0.0}, {5.0}, {-3.0, NAN}, {1e308}}) {
    const std::vector<std::span<const double>> parts{values};
    const AxisRange axis = fit_axis(parts, AxisStart::data, true);
    EXPECT_LT(axis.low, axis.high);
  }
}

TEST(Outliers, FindsTheSpikeAndTheNonFiniteStep) {
  MetricsHistory history = history_of(300);
  history.steps[199].loss = 50;
  history.steps[249].grad_norm = NAN;
  const auto outliers = find_outliers(history);
  ASSERT_EQ(outliers.size(), 2U);
  EXPECT_EQ(outliers[0].step, 200);
  EXPECT_GT(outliers[0].z, 100);
  EXPECT_EQ(outliers[1].step, 250);
  EXPECT_TRUE(std::isinf(outliers[1].z));
}

TEST(CentredMean, IsExactAtTheEndsAndSkipsWhatIsNotFinite) {
  const auto means = centred_mean({1, 2, NAN, 4, 9}, 2);
  EXPECT_EQ(means[0], 1);
  EXPECT_EQ(means[1], 1.5);
  EXPECT_EQ(means[2], 4);
  EXPECT_EQ(means[4], 9);
}

TEST(HtmlText, EscapesMarkupAndRepairsUtf8) {
  EXPECT_EQ(html_escape("a<b>&\"'"), "a&lt;b&gt;&amp;&quot;&#39;");
  EXPECT_EQ(html_escape("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"), "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
  EXPECT_EQ(html_escape("\xc0\xaf"), "\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(html_escape("\xed\xa0\x80").size(), 9U);
  EXPECT_EQ(html_escape("\xe2\x82"), "\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(html_escape(std::string_view("\0\x1b", 2)), "\xef\xbf\xbd\xef\xbf\xbd");
}

}  // namespace
}  // namespace trident
