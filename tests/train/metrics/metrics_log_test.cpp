#include "train/metrics/metrics_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <string>

#include "core/error.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::read_file;
using test::ScratchDir;
using test::write_file;
using testing::HasSubstr;

class MetricsLogTest : public testing::Test {
 protected:
  MetricsOptions options() {
    MetricsOptions made{.facts = {.total_steps = 20, .ranks = 2}};
    made.console = [this](std::string_view line) { console.emplace_back(line); };
    made.style = ConsoleStyle{};
    return made;
  }

  static StepMetrics step(std::int64_t number) {
    StepMetrics metrics;
    metrics.step = number;
    metrics.loss = 3.0 - 0.1 * static_cast<double>(number);
    metrics.grad_norm = 1;
    metrics.step_s = 0.5;
    metrics.tokens_per_s = 64;
    return metrics;
  }

  ScratchDir folder;
  RunDirectory run{folder.path() / "runs", "r"};
  std::vector<std::string> console;
};

TEST_F(MetricsLogTest, ARestartGoesOnWithTheNextAttempt) {
  {
    MetricsLog first(run, options());
    EXPECT_EQ(first.attempt(), 1);
    for (int number = 1; number <= 10; ++number) first.record(step(number));
  }
  std::ofstream(run.metrics(), std::ios::app) << R"({"v":1,"attempt":1,"step":11,"lo)";
  MetricsLog second(run, options());
  EXPECT_EQ(second.attempt(), 2);
  for (int number = 8; number <= 20; ++number) second.record(step(number));
  second.record(EvalMetrics{.step = 20, .val_loss = 1.25});
  second.finish();
  const MetricsHistory history = read_metrics(run.metrics());
  EXPECT_EQ(history.unreadable_lines, 0);
  ASSERT_EQ(history.steps.size(), 20U);
  EXPECT_EQ(history.steps[6].attempt, 1);
  EXPECT_EQ(history.steps[7].attempt, 2);
  EXPECT_EQ(history.evaluations.size(), 1U);
  EXPECT_THAT(read_file(run.report()), HasSubstr("Best validation loss"));
}

TEST_F(MetricsLogTest, AnAttemptThatDiedBeforeItsFirstStepCounts) {
  MetricsLog(run, options()).event({.event = RunEvent::start});
  EXPECT_EQ(MetricsLog(run, options()).attempt(), 2);
  auto told = options();
  told.attempt = 9;
  EXPECT_EQ(MetricsLog(run, told).attempt(), 9);
}

TEST_F(MetricsLogTest, EventsCarryWhoAndWhen) {
  MetricsLog log(run, options());
  log.event({.event = RunEvent::fault, .step = 3, .rank = 1, .host = "other"});
  log.sample(4, "In the beginning");
  const auto events = read_events(run.events());
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].host, "other");
  EXPECT_EQ(events[0].pid, process_id());
  EXPECT_TRUE(seconds_since_epoch(events[0].ts).has_value());
  EXPECT_EQ(events[1].host, host_name());
  EXPECT_EQ(events[1].detail, "In the beginning");
}

TEST_F(MetricsLogTest, ConsoleShowsEveryIntervalAndTheLastStep) {
  auto every_seven = options();
  every_seven.console_interval = 7;
  MetricsLog log(run, every_seven);
  for (int number = 1; number <= 20; ++number) log.record(step(number));
  ASSERT_EQ(console.size(), 3U);
  EXPECT_THAT(console[0], testing::StartsWith("step 7/20 | loss 2.3000"));
  EXPECT_THAT(console[2], testing::StartsWith("step 20/20"));
  log.finish();
  EXPECT_THAT(console.back(), HasSubstr("step 20"));
}

TEST_F(MetricsLogTest, ThePlotFitsTheConsole) {
  auto narrow = options();
  narrow.style = ConsoleStyle{.columns = 40};
  MetricsLog log(run, narrow);
  for (int number = 1; number <= 20; ++number) log.record(step(number));
  log.finish();
  std::istringstream plot(console.back());
  for (std::string line; std::getline(plot, line);) {
    const auto is_character = [](char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; };
    EXPECT_LE(std::count_if(line.begin(), line.end(), is_character), 40) << line;
  }
}

TEST_F(MetricsLogTest, AFullDiskNeverEndsTheTraining) {
  run.create();
  std::filesystem::create_symlink("/dev/full", run.metrics());
  std::filesystem::create_symlink("/dev/full", run.events());
  MetricsLog log(run, options());
  for (int number = 1; number <= 20; ++number) log.record(step(number));
  log.event({.event = RunEvent::stop});
  log.finish();
  EXPECT_EQ(console.size(), 20U);
  EXPECT_EQ(log.lost_lines(), 0) << "they wait";
}

TEST_F(MetricsLogTest, AVanishedRunDirectoryNeverEndsTheTraining) {
  MetricsLog log(run, options());
  std::filesystem::remove_all(run.root());
  log.record(step(1));
  log.finish();
  EXPECT_FALSE(run.exists());
}

TEST_F(MetricsLogTest, ThrowsWhereTheFolderCannotBeMade) {
  write_file(folder.path() / "file", "");
  EXPECT_THROW(MetricsLog(RunDirectory(folder.path() / "file", "r"), options()), Error);
}

TEST_F(MetricsLogTest, TensorBoardStartsASessionOnlyAfterARestart) {
  run.create();
  run.write_config("a: 1\n");
  const std::string session("\x3a\x02\x08\x01");
  const auto file_text = [&] {
    std::string all;
    for (const auto& entry : std::filesystem::directory_iterator(run.tensorboard())) all += read_file(entry.path());
    return all;
  };
  MetricsLog(run, options()).record(step(1));
  EXPECT_THAT(file_text(),
              testing::AllOf(HasSubstr("train/loss"), HasSubstr("    a: 1"), testing::Not(HasSubstr(session))));
  MetricsLog(run, options()).record(step(1));
  EXPECT_THAT(file_text(), HasSubstr(session));
}

TEST_F(MetricsLogTest, WithoutTensorBoardItsFolderStaysEmpty) {
  auto without = options();
  without.tensorboard = false;
  MetricsLog(run, without).record(step(1));
  EXPECT_TRUE(std::filesystem::is_empty(run.tensorboard()));
}

}  // namespace
}  // namespace trident
