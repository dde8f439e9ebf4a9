#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include <cmath>
#include <csignal>
#include <random>

#include "core/error.h"
#include "tests/scratch_dir.h"
#include "train/metrics/append_file.h"
#include "train/metrics/events_file.h"
#include "train/metrics/metrics_file.h"
#include "train/metrics/run_directory.h"

namespace trident {
namespace {

using nlohmann::json;
using test::read_file;
using test::ScratchDir;
using test::write_file;

StepMetrics some_step(std::int64_t step, int attempt = 1) {
  StepMetrics metrics;
  metrics.step = step;
  metrics.attempt = attempt;
  metrics.loss = 2.0 / 3.0 + static_cast<double>(step);
  metrics.grad_norm = 0.1;
  metrics.lr = 3e-4;
  metrics.tokens = 8192 * step;
  metrics.step_s = 0.25;
  metrics.tokens_per_s = 32768;
  metrics.time_s = {.data = 0.01, .compute = 0.2, .comm = 0.02, .bubble = 0.03, .optimizer = 0.04, .checkpoint = 0.05};
  metrics.memory_gib_max = 1.5;
  return metrics;
}

TEST(MetricsFile, StepRowHasExactlyThePromisedKeys) {
  const json row = json::parse(to_json_line(some_step(7)));
  std::vector<std::string> keys;
  for (const auto& [key, value] : row.items()) keys.push_back(key);
  EXPECT_THAT(keys, testing::UnorderedElementsAre("v", "attempt", "step", "loss", "grad_norm", "lr", "tokens", "step_s",
                                                  "tokens_per_s", "time_s", "mfu", "memory_gib"));
  std::vector<std::string> phases;
  for (const auto& [key, value] : row["time_s"].items()) phases.push_back(key);
  EXPECT_THAT(phases, testing::UnorderedElementsAre("data", "compute", "comm", "bubble", "optimizer", "checkpoint"));
  EXPECT_EQ(row["v"], 1);
  EXPECT_TRUE(row["mfu"].is_null());
  EXPECT_EQ(row["memory_gib"]["max"], 1.5);
}

TEST(MetricsFile, LossesSurviveBitForBit) {
  const ScratchDir folder;
  const auto path = folder.path() / "metrics.jsonl";
  std::mt19937_64 random(5);
  std::vector<double> losses;
  {
    AppendFile file(path);
    for (int step = 1; step <= 1000; ++step) {
      StepMetrics metrics = some_step(step);
      metrics.loss = std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 200) - 160);
      losses.push_back(metrics.loss);
      file.append(to_json_line(metrics));
    }
  }
  const MetricsHistory history = read_metrics(path);
  ASSERT_EQ(history.steps.size(), losses.size());
  for (std::size_t i = 0; i < losses.size(); ++i) EXPECT_EQ(history.steps[i].loss, losses[i]);
}

TEST(MetricsFile, LossesCarrySeventeenSignificantDigits) {
  EXPECT_THAT(to_json_line(some_step(0)), testing::HasSubstr("\"loss\":0.66666666666666663,"));
}

TEST(MetricsFile, NonFiniteIsNullAndSaysSo) {
  StepMetrics metrics = some_step(3);
  metrics.loss = NAN;
  metrics.grad_norm = INFINITY;
  const json row = json::parse(to_json_line(metrics));
  EXPECT_TRUE(row["loss"].is_null());
  EXPECT_TRUE(row["grad_norm"].is_null());
  EXPECT_EQ(row["nonfinite"], true);
  const json evaluation = json::parse(to_json_line(EvalMetrics{.step = 3, .val_loss = -INFINITY}));
  EXPECT_TRUE(evaluation["val_loss"].is_null());
  EXPECT_FALSE(evaluation.contains("loss"));
  EXPECT_EQ(evaluation["nonfinite"], true);
}

TEST(MetricsFile, UnknownMfuAloneIsNotNonFinite) {
  EXPECT_FALSE(json::parse(to_json_line(some_step(1))).contains("nonfinite"));
}

TEST(MetricsFile, HighestAttemptOfAStepStays) {
  const ScratchDir folder;
  const auto path = folder.path() / "metrics.jsonl";
  AppendFile file(path);
  for (int step = 1; step <= 5; ++step) file.append(to_json_line(some_step(step, 1)));
  file.append(to_json_line(EvalMetrics{.attempt = 1, .step = 4, .val_loss = 9}));
  for (int step = 4; step <= 6; ++step) {
    StepMetrics repeated = some_step(step, 2);
    repeated.loss = -step;
    file.append(to_json_line(repeated));
  }
  file.append(to_json_line(EvalMetrics{.attempt = 2, .step = 4, .val_loss = 8}));
  const MetricsHistory history = read_metrics(path);
  ASSERT_EQ(history.steps.size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(history.steps[i].step, static_cast<std::int64_t>(i) + 1);
    EXPECT_EQ(history.steps[i].attempt, i < 3 ? 1 : 2);
  }
  ASSERT_EQ(history.evaluations.size(), 1U);
  EXPECT_EQ(history.evaluations[0].val_loss, 8);
  EXPECT_EQ(history.last_attempt, 2);
  EXPECT_EQ(highest_attempt(path), 2);
}

TEST(MetricsFile, GarbageIsCountedAndNeverFatal) {
  const ScratchDir folder;
  const auto path = folder.path() / "metrics.jsonl";
  std::string text = "not json\n[1,2]\n{\"step\":-3,\"loss\":1}\n{\"step\":1e300,\"loss\":1}\n\n";
  text += "{\"step\":1,\"attempt\":99999999999,\"loss\":1}\n" + std::string(3 << 20, 'x') + "\n";
  text += std::string(5000, '[') + "\n" + to_json_line(some_step(2)) + "{\"step\":3,\"loss\":1";
  write_file(path, text);
  const MetricsHistory history = read_metrics(path);
  ASSERT_EQ(history.steps.size(), 1U);
  EXPECT_EQ(history.steps[0].step, 2);
  EXPECT_EQ(history.unreadable_lines, 7);
}

TEST(MetricsFile, RandomBytesNeverCrashTheReaders) {
  const ScratchDir folder;
  std::mt19937 random(11);
  const std::string good = to_json_line(some_step(2)) + to_json_line(EventRecord{.host = "node", .seconds = 1.0});
  for (int round = 0; round < 300; ++round) {
    std::string text = good;
    for (int flips = 0; flips < 6; ++flips) text[random() % text.size()] = static_cast<char>(random());
    write_file(folder.path() / "m", text);
    EXPECT_LE(read_metrics(folder.path() / "m").steps.size(), 2U);
    EXPECT_LE(read_events(folder.path() / "m").size(), 2U);
    EXPECT_GE(highest_attempt(folder.path() / "m"), 0);
  }
}

TEST(AppendFile, TornLastLineIsCutOff) {
  const ScratchDir folder;
  const auto path = folder.path() / "m";
  const std::string torn(10000, 'y');
  for (const std::string& start : {std::string(), std::string("a\n"), "a\n" + std::string(5000, 'b') + "\n"}) {
    write_file(path, start + torn);
    truncate_torn_line(path);
    EXPECT_EQ(read_file(path), start);
    truncate_torn_line(path);
    EXPECT_EQ(read_file(path), start);
  }
  EXPECT_NO_THROW(truncate_torn_line(folder.path() / "absent"));
}

TEST(AppendFile, FullDiskKeepsRecordsThenCountsWhatDidNotFit) {
  AppendFile file("/dev/full");
  const std::string record(1 << 20, 'z');
  for (int i = 0; i < 6; ++i) file.append(record);
  EXPECT_EQ(file.lost_records(), 2);
  EXPECT_LE(file.waiting_bytes(), AppendFile::waiting_limit);
}

TEST(AppendFile, RecordsThatWaitedAreWrittenWholeWhenThereIsRoomAgain) {
  const ScratchDir folder;
  const auto path = folder.path() / "m";
  const auto previous = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  rlimit small = old_limit;
  small.rlim_cur = 10;  // the second record fits by half
  AppendFile file(path);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  file.append("first1\n");
  file.append("second\n");
  file.append("third3\n");
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  EXPECT_EQ(read_file(path), "first1\nsec");
  file.append("fourth\n");
  EXPECT_EQ(read_file(path), "first1\nsecond\nthird3\nfourth\n");
  EXPECT_EQ(file.lost_records(), 0);
  std::signal(SIGXFSZ, previous);
}

TEST(AppendFile, ThrowsWhereTheFileCannotBeCreated) {
  const ScratchDir folder;
  EXPECT_THROW(AppendFile(folder.path() / "no" / "such" / "folder"), Error);
}

TEST(EventsFile, EveryEventComesBack) {
  const ScratchDir folder;
  const auto path = folder.path() / "events.jsonl";
  EventRecord fault{.event = RunEvent::fault, .attempt = 2, .step = 1000, .rank = 3, .host = "node\"07", .pid = 4121};
  fault.phase = "all_reduce";
  fault.cause = "SIGKILL";
  fault.detail = "line\nbreak <b> \xff";
  fault.seconds = 0.25;
  fault.ts = "2026-11-22T19:30:01.123Z";
  write_file(path,
             to_json_line(fault) + "{\"event\":\"invented\"}\n" + to_json_line(EventRecord{.event = RunEvent::stop}));
  const auto events = read_events(path);
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0].event, RunEvent::fault);
  EXPECT_EQ(events[0].rank, 3);
  EXPECT_EQ(events[0].host, "node\"07");
  EXPECT_EQ(events[0].pid, 4121);
  EXPECT_EQ(events[0].phase, "all_reduce");
  EXPECT_EQ(events[0].detail, "line\nbreak <b> \xef\xbf\xbd");
  EXPECT_EQ(events[0].seconds, 0.25);
  EXPECT_EQ(events[1].event, RunEvent::stop);
  EXPECT_FALSE(events[1].rank.has_value());
  EXPECT_EQ(json::parse(to_json_line(EventRecord{})).size(), 4U);
}

TEST(EventsFile, TimestampsAreUtcWithMilliseconds) {
  const auto time = std::chrono::system_clock::time_point(std::chrono::milliseconds(1795000000123));
  EXPECT_EQ(utc_timestamp(time), "2026-11-18T11:06:40.123Z");
  EXPECT_NEAR(seconds_since_epoch("2026-11-18T11:06:40.123Z").value_or(0), 1795000000.123, 1e-6);
  EXPECT_FALSE(seconds_since_epoch("yesterday").has_value());
  EXPECT_FALSE(seconds_since_epoch("2026-11-18T11:06:40").has_value());
}

TEST(RunDirectory, HasThePromisedNames) {
  const ScratchDir folder;
  const RunDirectory run(folder.path() / "runs", "smoke");
  EXPECT_FALSE(run.exists());
  EXPECT_EQ(run.previous_attempt(), 0);
  run.create();
  run.create();
  EXPECT_TRUE(run.exists());
  const auto root = folder.path() / "runs" / "smoke";
  for (const char* name : {"logs", "tb", "trace", "checkpoints"}) {
    EXPECT_TRUE(std::filesystem::is_directory(root / name)) << name;
  }
  EXPECT_EQ(run.rank_log(3), root / "logs/rank_00003.log");
  EXPECT_EQ(run.checkpoint(100), root / "checkpoints/step_00000100");
  EXPECT_EQ(run.latest(), root / "checkpoints/latest");
  run.write_config("a: 1\n");
  run.write_config("a: 2\n");
  EXPECT_EQ(run.read_config(), "a: 2\n");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(root), {}), 5) << "a temporary file stayed";
  write_file(run.events(), to_json_line(EventRecord{.attempt = 4}));
  EXPECT_EQ(run.previous_attempt(), 4);
}

TEST(RunDirectory, RefusesNamesThatLeaveTheFolder) {
  for (const char* name : {"", ".", "..", "a/b", "/etc"}) EXPECT_THROW(RunDirectory("runs", name), Error) << name;
}

}  // namespace
}  // namespace trident
