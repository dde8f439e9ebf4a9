#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "train/metrics/human_text.h"
#include "train/metrics/rolling_stats.h"
#include "train/metrics/sparkline.h"
#include "train/metrics/step_line.h"

namespace trident {
namespace {

StepMetrics busy_step(std::int64_t step) {
  StepMetrics metrics;
  metrics.step = step;
  metrics.loss = 2.1873 + 0.01 * static_cast<double>(step % 3);
  metrics.grad_norm = 0.41 + 0.01 * static_cast<double>(step % 2);
  metrics.lr = 2.9e-4;
  metrics.tokens = 34'100'000'000;
  metrics.step_s = 6.07;
  metrics.tokens_per_s = 691'200;
  metrics.time_s = {.data = 0.01, .compute = 5.3, .comm = 0.6, .bubble = 0.1};
  metrics.mfu = 0.504;
  metrics.memory_gib_max = 57.1;
  return metrics;
}

std::string line_after(int steps, StepLine line) {
  for (int step = 1; step <= steps; ++step) line.observe(busy_step(8000 + step));
  return line.text();
}

TEST(StepLine, SaysEverythingWhereThereIsRoom) {
  EXPECT_EQ(
      line_after(120, StepLine(23842, {})),
      "step 8120/23842 | loss 2.2073 (+1.2z) | gnorm 0.41 (-1.0z) | lr 2.9e-04 | 6.07s (data 0.01 comm 0.6 bubble "
      "0.1) | 691k tok/s | MFU 50.4% | mem 57.1GiB | tok 34.1B | eta 1d2h");
}

TEST(StepLine, LeavesOutWhatIsNotKnown) {
  StepLine line(0, {});
  StepMetrics metrics;
  metrics.step = 3;
  metrics.loss = 1;
  metrics.grad_norm = 1;
  line.observe(metrics);
  const std::string text = line.text();
  for (const char* absent : {"MFU", "mem", "eta", "z)", "tok 0", "/0"}) {
    EXPECT_THAT(text, testing::Not(testing::HasSubstr(absent)));
  }
  EXPECT_THAT(text, testing::StartsWith("step 3 | loss 1.0000"));
}

TEST(StepLine, FitsAnyTerminalAndKeepsTheLoss) {
  for (int columns = 30; columns <= 200; ++columns) {
    const std::string text = line_after(120, StepLine(23842, {.columns = columns}));
    EXPECT_LE(text.size(), static_cast<std::size_t>(columns)) << text;
    EXPECT_THAT(text, testing::StartsWith("step 8120/23842 | loss 2.2073"));
  }
  const std::string eighty = line_after(120, StepLine(23842, {.columns = 80}));
  EXPECT_THAT(eighty,
              testing::AllOf(testing::HasSubstr("gnorm"), testing::HasSubstr("tok/s"), testing::HasSubstr("eta")));
}

TEST(StepLine, ColourAddsNothingButEscapes) {
  std::string coloured = line_after(120, StepLine(23842, {.colour = Colour::ansi}));
  EXPECT_THAT(coloured, testing::HasSubstr("\x1b["));
  for (std::size_t at = coloured.find('\x1b'); at != std::string::npos; at = coloured.find('\x1b')) {
    coloured.erase(at, coloured.find('m', at) - at + 1);
  }
  EXPECT_EQ(coloured, line_after(120, StepLine(23842, {})));
}

TEST(StepLine, AFileIsNoTerminal) {
  FILE* file = std::tmpfile();
  ASSERT_NE(file, nullptr);
  EXPECT_EQ(console_style(fileno(file)).colour, Colour::never);
  EXPECT_EQ(console_style(fileno(file)).columns, 0);
  std::fclose(file);
}

TEST(StepLine, NonFiniteLossIsSaid) {
  StepLine line(10, {});
  StepMetrics metrics = busy_step(5);
  metrics.loss = NAN;
  line.observe(metrics);
  EXPECT_THAT(line.text(), testing::HasSubstr("loss nan"));
}

TEST(RollingStats, ZScoreIsOverTheWindowBeforeTheValue) {
  RollingStats stats(128);
  for (int i = 0; i < 1000; ++i) stats.add(1e9);  // falls out of the window
  for (int i = 0; i < 128; ++i) stats.add(i % 2 == 0 ? 1.0 : 3.0);
  EXPECT_NEAR(stats.z_score_and_add(7.0).value_or(0), 5.0, 1e-12);
  EXPECT_FALSE(stats.z_score_and_add(NAN).has_value());
  EXPECT_LT(stats.z_score_and_add(7.0).value_or(0), 5.0) << "the first 7 is in the window now";
  RollingStats constant;
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(constant.z_score_and_add(2.0).has_value());
}

TEST(RemainingTime, OneSlowStepChangesNothingAndEvaluationCounts) {
  RemainingTime time;
  EXPECT_FALSE(time.seconds(10).has_value());
  for (int i = 0; i < 50; ++i) time.step(i == 20 ? 1000.0 : 2.0);
  EXPECT_EQ(time.seconds(100), 200.0);
  time.evaluation(100, 50);
  time.evaluation(200, 50);
  EXPECT_EQ(time.seconds(100), 250.0);
  EXPECT_EQ(time.seconds(-5), 0.0);
}

TEST(HumanText, IsShort) {
  EXPECT_EQ(human_count(812), "812");
  EXPECT_EQ(human_count(10'800), "10.8k");
  EXPECT_EQ(human_count(999'960), "1.00M");
  EXPECT_EQ(human_count(34.1e9), "34.1B");
  EXPECT_EQ(human_count(NAN), "n/a");
  EXPECT_EQ(human_duration(93600), "1d2h");
  EXPECT_EQ(human_duration(59.6), "1m00s");
  EXPECT_EQ(human_duration(3605), "1h00m");
  EXPECT_EQ(human_duration(-1), "n/a");
  EXPECT_EQ(human_seconds(6.07), "6.07s");
  EXPECT_EQ(human_seconds(0.0123), "12.3ms");
  EXPECT_EQ(human_seconds(0.9999), "1.00s");
}

std::vector<unsigned> cells_of(std::string_view row) {
  std::vector<unsigned> cells;
  for (std::size_t at = row.find("\u2502") + 3; at + 2 < row.size() && row[at] == '\xe2'; at += 3) {
    cells.push_back((static_cast<unsigned char>(row[at + 1]) & 3U) << 6U |
                    (static_cast<unsigned char>(row[at + 2]) & 63U));
  }
  return cells;
}

TEST(BraillePlot, DrawsADiagonal) {
  const std::vector<std::int64_t> steps{1, 2, 3, 4};
  const std::vector<double> values{3, 2, 1, 0};
  const std::string text = braille_plot(steps, values, 2, 1);
  EXPECT_EQ(cells_of(text), (std::vector<unsigned>{0x01 | 0x10, 0x04 | 0x80}));
  EXPECT_THAT(text, testing::HasSubstr("step 4"));
}

TEST(BraillePlot, AnyValuesAndSizes) {
  EXPECT_EQ(braille_plot({}, {}, 10, 3), "");
  const std::vector<std::int64_t> one{7};
  EXPECT_EQ(braille_plot(one, std::vector<double>{NAN}, 10, 3), "");
  EXPECT_NE(braille_plot(one, std::vector<double>{2.5}, 10, 3), "");
  const std::vector<std::int64_t> four{1, 2, 3, 4};
  EXPECT_NE(braille_plot(four, std::vector<double>{1e308, -1e308, INFINITY, 0}, 3, 2), "");
}

}  // namespace
}  // namespace trident
