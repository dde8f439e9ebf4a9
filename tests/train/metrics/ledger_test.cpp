#include "train/metrics/ledger.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/scratch_dir.h"
#include "train/metrics/append_file.h"
#include "train/metrics/report.h"
#include "train/metrics/straggler_spans.h"

namespace trident {
namespace {

using test::read_file;
using test::ScratchDir;
using test::write_file;
using testing::HasSubstr;

constexpr double kStart = 1.8e9;  // a whole second

std::string at(double second) {
  using namespace std::chrono;
  return utc_timestamp(
      system_clock::time_point(duration_cast<system_clock::duration>(duration<double>(kStart + second))));
}

StepMetrics step(int attempt, std::int64_t number, double end, double seconds = 1, double checkpoint = 0) {
  StepMetrics row;
  row.attempt = attempt;
  row.step = number;
  row.loss = 2;
  row.step_s = seconds;
  row.time_s.checkpoint = checkpoint;
  row.time = std::isnan(end) ? end : kStart + end;
  return row;
}

EventRecord event(RunEvent what, int attempt, double second, std::int64_t step) {
  EventRecord record{.event = what, .attempt = attempt, .step = step};
  record.ts = at(second);
  return record;
}

EventRecord verdict(int attempt, double second, std::int64_t step, double silence) {
  EventRecord record = event(RunEvent::verdict, attempt, second, step);
  record.rank = 2;
  record.seconds = silence;
  return record;
}

EpochRecord epoch(std::int64_t number, double begin, double end, std::string outcome) {
  return {.epoch = number, .begin = kStart + begin, .end = kStart + end, .outcome = std::move(outcome)};
}

void expect(const Ledger& ledger, const std::array<double, kTimeUses>& seconds) {
  for (std::size_t i = 0; i < kTimeUses; ++i)
    EXPECT_NEAR(ledger.seconds[i], seconds[i], 2e-3) << to_string(static_cast<TimeUse>(i));
}

// Ten seconds of start, four steps, the fourth of which a fault takes back.
struct FaultyRun {
  MetricsHistory rows;
  std::vector<EventRecord> events;
  std::vector<EpochRecord> epochs;

  FaultyRun() {
    for (int i = 1; i <= 4; ++i) rows.steps.push_back(step(1, i, 10 + i));
    events = {event(RunEvent::start, 1, 10, 0), verdict(1, 15, 5, 0.4), event(RunEvent::resume, 2, 17, 3)};
    rows.steps.push_back(step(2, 4, 18));
    rows.steps.push_back(step(2, 5, 19.5, 1.5, 0.5));
    rows.evaluations.push_back({.attempt = 2, .step = 5, .val_loss = 2, .seconds = 2, .time = kStart + 22});
    events.push_back(event(RunEvent::checkpoint_commit, 2, 23, 5));
    events.push_back(event(RunEvent::stop, 2, 23, 5));
    epochs = {epoch(1, 0, 15.25, "fault"), epoch(2, 15.5, 24, "finished")};
  }
};

TEST(Ledger, GivesEveryMomentOfAFaultyRunToOneUse) {
  const FaultyRun run;
  const Ledger ledger = make_ledger(run.rows, run.events, run.epochs);
  //            useful: 3, 1, 1   evaluation   lost step, part  saves    silence  starts, fence   the end
  expect(ledger, {3 + 1 + 1.0, 2, 1 + 0.6, 0.5 + 0.5 + 1, 0.4, 10 + 0.25 + 0.25 + 1.5, 1});
  EXPECT_NEAR(ledger.wall(), 24, 1e-3);
  EXPECT_EQ(ledger.lost_steps, 1);
  EXPECT_NEAR(ledger.goodput(), 5.0 / 24, 1e-4);
  EXPECT_THAT(ledger_line(ledger), HasSubstr("24s: useful 20.8%"));
  EXPECT_THAT(ledger_line(ledger), HasSubstr("detection 1.7%"));
  EXPECT_THAT(ledger_line(ledger), HasSubstr("; 1 step lost"));
}

TEST(Ledger, StepsThatAreNotDoneAgainYetAreLostToo) {
  FaultyRun run;
  run.rows.steps.resize(4);
  run.rows.evaluations.clear();
  run.events.resize(3);
  run.events[2].step = 1;  // steps 2, 3 and 4 are gone
  run.epochs[1] = {.epoch = 2, .begin = kStart + 15.5};
  const Ledger ledger = make_ledger(run.rows, run.events, run.epochs, kStart + 20);
  expect(ledger, {1, 0, 3.6, 0, 0.4, 10 + 0.5 + 4.5, 0});
  EXPECT_EQ(ledger.lost_steps, 3);
}

TEST(Ledger, ARunThatGoesOnGoesOnToNow) {
  FaultyRun run;
  run.epochs[1].outcome.clear();
  run.epochs[1].end = NAN;
  run.events.resize(3);
  run.rows.evaluations.clear();
  EXPECT_NEAR(make_ledger(run.rows, run.events, run.epochs, kStart + 20)[TimeUse::useful], 5.5, 1e-3);
  run.rows.steps.resize(4);  // nothing done yet
  EXPECT_NEAR(make_ledger(run.rows, run.events, run.epochs, kStart + 20)[TimeUse::restart], 15, 1e-3);
}

TEST(Ledger, TimeBetweenTwoInvocationsIsIdle) {
  MetricsHistory rows;
  rows.steps = {step(1, 1, 2), step(2, 2, 1002)};
  const std::vector<EventRecord> events{event(RunEvent::start, 1, 1, 0), event(RunEvent::stop, 1, 2, 1),
                                        event(RunEvent::start, 2, 1001, 1), event(RunEvent::stop, 2, 1002, 2)};
  const std::vector<EpochRecord> epochs{epoch(1, 0, 3, "preempted"), epoch(2, 1000, 1003, "finished")};
  expect(make_ledger(rows, events, epochs), {2, 0, 0, 0, 0, 2, 1 + 997 + 1});
}

TEST(Ledger, WhoGaveUpAfterAFaultDoesNotRestartUntilItIsStartedAgain) {
  MetricsHistory rows;
  rows.steps = {step(1, 1, 2), step(2, 2, 42)};
  const std::vector<EventRecord> events{event(RunEvent::start, 1, 1, 0), event(RunEvent::start, 2, 41, 1)};
  std::vector<EpochRecord> epochs{epoch(1, 0, 3, "fault"), epoch(2, 40, 42, "finished")};
  expect(make_ledger(rows, events, epochs), {2, 0, 0, 0, 0, 1 + 1 + 37 + 1, 0});
  epochs[1].first = true;
  expect(make_ledger(rows, events, epochs), {2, 0, 0, 0, 0, 1 + 1 + 1, 37});
}

TEST(Ledger, TimeBetweenTwoStartsThatNobodySupervisesIsIdle) {
  MetricsHistory rows;
  rows.steps = {step(1, 1, 2), step(2, 2, 42)};
  std::vector<EventRecord> events{event(RunEvent::start, 1, 1, 0), event(RunEvent::stop, 1, 2, 1),
                                  event(RunEvent::resume, 2, 41, 1)};
  events.back().seconds = 1;
  expect(make_ledger(rows, events, {}), {2, 0, 0, 0, 0, 1, 38});
  events.back() = event(RunEvent::stop, 2, 43, 2);
  expect(make_ledger(rows, events, {}), {2, 0, 0, 0, 0, 0, 39 + 1});
}

TEST(Ledger, TakesRowsWithoutATimeOneAfterTheOther) {
  MetricsHistory rows;
  rows.steps = {step(1, 1, NAN, 2), step(1, 2, NAN, 3)};
  rows.evaluations = {{.attempt = 1, .step = 1, .val_loss = 1, .seconds = 4}};
  const std::vector<EventRecord> events{event(RunEvent::start, 1, 5, 0), event(RunEvent::stop, 1, 15, 2)};
  expect(make_ledger(rows, events, {}), {5, 4, 0, 0, 0, 0, 1});
  expect(make_ledger(rows, {}, {}), {5, 4, 0, 0, 0, 0, 0});
}

// `checkpoint` of a row counts the save between the steps too, which the times between rows show already.
TEST(Ledger, CountsASaveBetweenStepsOnce) {
  MetricsHistory rows;
  rows.steps = {step(1, 1, 1), step(1, 2, 2.5, 1, 0.7)};  // half a second between them, 0.2 s within the second
  const std::vector<EpochRecord> epochs{epoch(1, 0, 2.5, "finished")};
  expect(make_ledger(rows, {}, epochs), {1.8, 0, 0, 0.7, 0, 0, 0});
}

TEST(Ledger, SurvivesClocksThatJumpAndNumbersThatAreNone) {
  FaultyRun run;
  run.rows.steps[2].time -= 1e6;
  run.rows.steps[1].step_s = NAN;
  run.rows.steps[0].step_s = -3;
  run.rows.steps[4].time_s.checkpoint = INFINITY;
  run.events[1].seconds = 1e12;
  run.epochs[0].begin = NAN;
  const Ledger ledger = make_ledger(run.rows, run.events, run.epochs);
  for (const double seconds : ledger.seconds) EXPECT_GE(seconds, 0);
  EXPECT_TRUE(std::isfinite(ledger.wall()));
}

TEST(Ledger, NothingIsNothing) {
  const Ledger ledger = make_ledger({}, {}, {}, 7.0);
  EXPECT_EQ(ledger.wall(), 0);
  EXPECT_EQ(ledger.goodput(), 0);
  EXPECT_EQ(ledger_line(ledger), "");
}

std::string epoch_line(const char* event, int number, double second, const std::string& rest) {
  return fmt::format("{{\"v\":1,\"ts\":\"{}\",\"event\":\"{}\",\"epoch\":{}{}}}\n", at(second), event, number, rest);
}

// The files of FaultyRun, and between their lines what others wrote.
void write_files(const RunDirectory& run, const std::string& noise) {
  const FaultyRun made;
  std::string metrics, events;
  for (const StepMetrics& row : made.rows.steps) metrics += to_json_line(row) + noise;
  for (const EvalMetrics& row : made.rows.evaluations) metrics += to_json_line(row) + noise;
  for (const EventRecord& row : made.events) events += to_json_line(row) + noise;
  write_file(run.metrics(), metrics + R"({"v":1,"attempt":2,"step":6,"loss":1.5,"step_s":900)");
  write_file(run.events(), events + R"({"ts":")" + at(900));
  write_file(run.epochs(), epoch_line("begin", 1, 0, ",\"ranks\":4,\"dp\":2,\"tp\":1,\"pp\":2") + noise +
                               epoch_line("end", 1, 15.25, ",\"outcome\":\"fault\"") + noise +
                               epoch_line("begin", 2, 15.5, "") +
                               epoch_line("end", 2, 24, ",\"outcome\":\"finished\"") + R"({"v":1,"ts":")" + at(900));
}

TEST(Ledger, OfFilesWithCutAndForeignLines) {
  const ScratchDir folder;
  const RunDirectory run(folder.path());
  const FaultyRun made;
  write_files(run, "\n[]\nnull\n{\"event\":7}\n{\"v\":1,\"event\":\"begin\",\"epoch\":\"x\"}\n\xff\xfe{\n");
  expect(read_ledger(run), make_ledger(made.rows, made.events, made.epochs).seconds);
  const std::vector<EpochRecord> epochs = read_epochs(run.epochs());
  ASSERT_EQ(epochs.size(), 2U);
  EXPECT_EQ(epochs[0].dp * 100 + epochs[0].tp * 10 + epochs[0].pp, 212);
}

TEST(Ledger, RandomBytesNeverBreakIt) {
  const ScratchDir folder;
  const RunDirectory run(folder.path());
  std::mt19937 random(5);
  write_files(run, "");
  const std::vector<std::filesystem::path> files{run.metrics(), run.events(), run.epochs()};
  for (int round = 0; round < 200; ++round) {
    write_files(run, "");
    for (const auto& file : files) {
      std::string text = read_file(file);
      for (int flips = 0; flips < 8; ++flips) text[random() % text.size()] = static_cast<char>(random());
      write_file(file, text);
    }
    const Ledger ledger = read_ledger(run);
    for (const double seconds : ledger.seconds) EXPECT_GE(seconds, 0);
  }
}

TEST(Report, ShowsTheLedgerAndStragglers) {
  const ScratchDir folder;
  const RunDirectory run(folder.path());
  write_files(run, "");
  EventRecord slow = event(RunEvent::straggler, 2, 19, 4);
  slow.rank = 1;
  slow.host = "<node>";
  slow.ratio = 1.83;
  AppendFile(run.events()).append("\n" + to_json_line(slow));
  const std::string page = render_report(load_report_data(run, {}));
  EXPECT_THAT(page, HasSubstr("Effective training time 20.8%"));
  EXPECT_THAT(page, HasSubstr("recomputed 6.7%"));
  EXPECT_THAT(page, HasSubstr("1.83×"));
  EXPECT_THAT(page, HasSubstr("&lt;node&gt;"));
}

TEST(StragglerSpans, EndWhereTheRankIsNamedAgain) {
  const auto named = [](int attempt, int rank, std::int64_t step, double ratio) {
    EventRecord record{.event = RunEvent::straggler, .attempt = attempt, .step = step, .rank = rank};
    record.ratio = ratio;
    return record;
  };
  const std::vector<EventRecord> events{named(1, 3, 10, 1.5), named(1, 0, 12, 1.3), named(1, 3, 20, 1.0),
                                        named(1, 3, 30, 1.4), named(2, 0, 40, 2.0)};
  const auto spans = find_stragglers(events);
  ASSERT_EQ(spans.size(), 4U);
  EXPECT_EQ(spans[0].last_step, 20);
  EXPECT_EQ(spans[1].last_step, std::nullopt);
  EXPECT_EQ(spans[2].first_step, 30);
  EXPECT_EQ(spans[3].attempt, 2);
  EXPECT_EQ(spans[3].ratio, 2.0);
}

}  // namespace
}  // namespace trident
