#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "launch/status/exposition.h"
#include "launch/status/heat_map.h"
#include "launch/status/page.h"
#include "launch/status/run_status.h"
#include "launch/status/state_json.h"
#include "status_run.h"

namespace trident {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

double unix_now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

RunStatus status_of(const StatusRun& made, const RankBoard& board, const RunFacts& facts = {}) {
  RunFiles files(made.run());
  files.update();
  return make_status(made.run(), facts, files, board.latest(), unix_now());
}

TEST(HeatMap, AColumnWaitsForEveryRank) {
  HeatMap map(3);
  map.add(0, 5, 1.0);
  map.add(0, 6, 9.0);  // ahead of the others
  map.add(1, 5, 2.0);
  ASSERT_EQ(map.columns().size(), 1U);
  EXPECT_TRUE(std::isnan(map.columns()[0].seconds[2]));
  map.add(2, 7, 3.0);
  map.add(1, 7, 4.0);
  map.add(1, 7, 8.0);  // the same step again
  ASSERT_EQ(map.columns().size(), 2U);
  EXPECT_THAT(map.columns()[0].seconds, ElementsAre(1.0F, 2.0F, 3.0F));
  EXPECT_EQ(map.columns()[0].step, 7);
  EXPECT_EQ(map.columns()[1].seconds[1], 4.0F);
  map.add(3, 1, 1.0);  // no such rank
}

TEST(HeatMap, StaysSmallHoweverManyRanksAndSteps) {
  HeatMap map(2000);
  for (int64_t step = 1; step <= 40; ++step) {
    for (size_t rank = 0; rank < 2000; ++rank) map.add(rank, step, 1.0);
  }
  EXPECT_EQ(map.columns().size(), 20U);
  EXPECT_EQ(map.columns().back().step, 40);
}

TEST(RankBoard, ShowsRatiosToPeersAndForgetsTheGangBefore) {
  RankBoard board;
  EXPECT_EQ(board.latest(), nullptr);
  board.publish(status_gang({4, 1, 1}, {1.0, 1.0, 2.0, 1.0}, 3), 1);
  const auto first = board.latest();
  ASSERT_EQ(first->ranks.size(), 4U);
  EXPECT_EQ(first->ranks[2].ratio, 2.0);
  EXPECT_EQ(first->ranks[2].at.dp, 2);
  EXPECT_EQ(first->ranks[2].phase, "forward and backward");
  EXPECT_EQ(first->heat.columns().size(), 1U);
  board.publish(status_gang({2, 1, 1}, {1.0, 1.0}, 3), 2);
  EXPECT_EQ(board.latest()->heat.ranks(), 2U);
  EXPECT_EQ(board.latest()->epoch, 2);
  EXPECT_EQ(first->ranks.size(), 4U) << "who holds the old one keeps it";
}

TEST(FileTail, GivesALineOnceItIsWhole) {
  const StatusRun made;
  const auto path = made.run().root() / "tail";
  FileTail tail(path);
  std::vector<std::string> lines;
  const auto read = [&] {
    lines.clear();
    tail.read([&](std::string_view line) { lines.emplace_back(line); });
    return lines;
  };
  EXPECT_THAT(read(), ElementsAre());
  StatusRun::append(path, "one\ntw");
  EXPECT_THAT(read(), ElementsAre("one"));
  EXPECT_THAT(read(), ElementsAre());
  StatusRun::append(path, "o\n" + std::string(3 << 20, 'x'));
  EXPECT_THAT(read(), ElementsAre("two"));
  StatusRun::append(path, "\nfour\n");
  EXPECT_THAT(read(), ElementsAre("four")) << "a line of 3 MB is passed over";
  // A torn line that the next writer cuts off.
  StatusRun::append(path, "torn");
  EXPECT_THAT(read(), ElementsAre());
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 4);
  StatusRun::append(path, "five\n");
  EXPECT_THAT(read(), ElementsAre("five"));
}

TEST(RunStatus, KeepsTheHighestAttemptOfAStep) {
  const StatusRun made;
  for (int64_t step = 1; step <= 5; ++step) made.step(step, 5.0);
  for (int64_t step = 4; step <= 6; ++step) made.step(step, 2.0, 2);
  const RunStatus status = status_of(made, RankBoard(), {.run_name = "r", .total_steps = 10});
  EXPECT_THAT(status.loss.steps, ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(status.loss.values, ElementsAre(5, 5, 5, 2, 2, 2));
  EXPECT_EQ(status.last.step, 6);
  EXPECT_EQ(status.tokens_done, 800);
  EXPECT_DOUBLE_EQ(*status.eta_s, 4 * 0.5);
  EXPECT_EQ(status.ledger.lost_steps, 2);
}

TEST(RunStatus, ThinsLongCurvesOut) {
  const StatusRun made;
  for (int64_t step = 1; step <= 5000; ++step) made.step(step, static_cast<double>(step));
  const RunStatus status = status_of(made, RankBoard());
  EXPECT_LE(status.loss.steps.size(), 400U);
  EXPECT_EQ(status.loss.steps.back(), 5000);
}

TEST(RunStatus, SaysHowAGangFares) {
  const StatusRun made;
  RankBoard board;
  GangState gang = status_gang({2, 1, 1}, {1.0, 1.0}, 4);
  const auto state = [&] {
    board.publish(gang, 1);
    const RunStatus status = status_of(made, board);
    return status.state + (status.healthy ? " 200 " : " 503 ") + status.reason;
  };
  EXPECT_EQ(state(), "training 200 2 ranks train");
  gang.ranks[1].record.resumed = -1;
  EXPECT_EQ(state(), "starting 200 1 of 2 ranks start");
  gang.ranks[1].idle_s = 4;
  EXPECT_THAT(state(), HasSubstr("silent 503 rank 1 on node gives no sign of life for 4s"));
  gang.ranks[1].idle_s = 0;
  EventRecord verdict{.event = RunEvent::verdict, .rank = 1, .cause = "killed", .detail = "rank 1 was killed"};
  made.event(verdict);
  EXPECT_EQ(state(), "recovering 503 no new step yet since a fault: rank 1 was killed");
  made.event({.event = RunEvent::restart});
  gang.ranks[1].record.resumed = 0;
  EXPECT_EQ(state(), "training 200 2 ranks train");
  const RunStatus status = status_of(made, board);
  EXPECT_EQ(status.faults.at("killed"), 1);
  RunFiles files(made.run());
  EXPECT_EQ(make_status(made.run(), {}, files, board.latest(), unix_now() + 60).state, "silent")
      << "a supervisor that does not look";
}

TEST(RunStatus, SaysHowARunWithoutSupervisorEnded) {
  const StatusRun made;
  const RunFacts facts{.run_name = "r", .total_steps = 2};
  EXPECT_EQ(status_of(made, RankBoard(), facts).state, "unknown");
  made.step(1, 1);
  made.event({.event = RunEvent::stop, .step = 1});
  EXPECT_EQ(status_of(made, RankBoard(), facts).state, "stopped");
  made.event({.event = RunEvent::fault, .step = 1, .detail = "no room"});
  EXPECT_EQ(status_of(made, RankBoard(), facts).reason, "no room");
  made.event({.event = RunEvent::stop, .step = 2});
  EXPECT_EQ(status_of(made, RankBoard(), facts).state, "complete");
}

TEST(RunStatus, NamesRanksThatStraggleNow) {
  const StatusRun made;
  RankBoard board;
  board.publish(status_gang({4, 1, 1}, {1.0, 1.0, 2.0, 1.0}, 3), 2);
  const auto named = [](int attempt, int rank, double ratio) {
    EventRecord record{.event = RunEvent::straggler, .attempt = attempt, .step = 9, .rank = rank};
    record.ratio = ratio;
    return record;
  };
  for (const auto& [attempt, rank] : {std::pair(1, 0), std::pair(2, 2), std::pair(2, 3), std::pair(2, 3)})
    made.event(named(attempt, rank, 1.5));
  EXPECT_THAT(status_of(made, board).slow_ranks, ElementsAre(2));
  const json state = json::parse(state_json(status_of(made, board)));
  EXPECT_EQ(state["ranks"][2]["straggler"], true);
  EXPECT_EQ(state["ranks"][3]["straggler"], false);
  EXPECT_EQ(state["stragglers"].size(), 3U);
}

// The text format's rules, as far as a scraper enforces them.
void expect_exposition(const std::string& text) {
  const std::regex sample(R"re(([a-zA-Z_:][a-zA-Z0-9_:]*)(\{(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*\})? (\S+))re");
  std::map<std::string, std::string> types;
  std::set<std::string> seen, finished;
  std::string family;
  std::istringstream lines(text);
  ASSERT_TRUE(text.ends_with('\n'));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string hash, word, name, type;
    if (line.starts_with("# ")) {
      words >> hash >> word >> name >> type;
      ASSERT_TRUE(word == "HELP" || word == "TYPE") << line;
      EXPECT_TRUE(name == family || finished.insert(name).second) << "twice: " << name;
      family = name;
      if (word == "TYPE") types[name] = type;
      continue;
    }
    std::smatch parts;
    ASSERT_TRUE(std::regex_match(line, parts, sample)) << line;
    ASSERT_TRUE(parts[1].str().starts_with(family)) << line;
    EXPECT_TRUE(types.contains(family)) << "no type before " << line;
    EXPECT_TRUE(seen.insert(parts[1].str() + parts[2].str()).second) << "twice: " << line;
    EXPECT_EQ(types[family] == "counter", family.ends_with("_total")) << line;
    EXPECT_TRUE(family.starts_with("trident_")) << line;
    EXPECT_FALSE(std::isnan(std::strtod(parts[3].str().c_str(), nullptr))) << line;
  }
}

TEST(Exposition, IsWellFormedWhateverTheRunIsCalled) {
  const StatusRun made;
  expect_exposition(exposition(status_of(made, RankBoard())));
  RankBoard board;
  GangState gang = status_gang({2, 1, 1}, {1.0, 2.0}, 3);
  gang.ranks[1].host = "a\"b\\c\nd";
  board.publish(gang, 1);
  made.step(1, 2.5);
  made.step(2, NAN);
  made.event({.event = RunEvent::verdict, .rank = 0, .cause = "out of \"memory\""});
  made.event({.event = RunEvent::checkpoint_commit, .step = 2, .seconds = 0.25});
  const std::string text = exposition(status_of(made, board, {.run_name = "{\"}\n# TYPE x", .total_steps = 9}));
  expect_exposition(text);
  for (const char* line :
       {"\ntrident_step 2\n", "\ntrident_target_steps 9\n", "\ntrident_tokens_total 200\n",
        "trident_restarts_total{reason=\"out of \\\"memory\\\"\"} 1\n", "\ntrident_checkpoint_last_step 2\n",
        "trident_rank_busy_ratio{rank=\"1\",host=\"a\\\"b\\\\c\\nd\"} 2\n", "trident_step_duration_seconds_count 2\n",
        "trident_step_duration_seconds_bucket{le=\"0.25\"} 0\n", "trident_step_duration_seconds_bucket{le=\"0.5\"} 2\n",
        "trident_step_duration_seconds_bucket{le=\"+Inf\"} 2\n", "# TYPE trident_step_duration_seconds histogram\n",
        "trident_wall_seconds{use=\"useful\"} "})
    EXPECT_THAT(text, HasSubstr(line));
  EXPECT_THAT(text, Not(HasSubstr("\ntrident_loss"))) << "a loss that is not finite is left out";
}

TEST(StateJson, IsJsonWhateverTheRunSays) {
  const StatusRun made;
  RankBoard board;
  GangState gang = status_gang({1, 1, 1}, {1.0}, 3);
  gang.ranks[0].host = "\xff\xfe<script>";
  board.publish(gang, 1);
  made.step(1, NAN);
  made.event({.event = RunEvent::fault, .detail = std::string(9000, '\'')});
  const json state = json::parse(state_json(status_of(made, board)));
  EXPECT_TRUE(state["loss"].is_null());
  EXPECT_EQ(state["events"][0]["detail"].get<std::string>().size(), 500U);
  EXPECT_EQ(state["heat"]["busy_s"][0][0], 1.0);
  for (const char* key : {"run", "state", "step", "ledger", "ranks", "curves", "events", "faults", "checkpoints"})
    EXPECT_TRUE(state.contains(key)) << key;
}

TEST(StatusPage, RefersToNothingOutsideAndNeverMakesMarkupOfText) {
  std::string page(status_page());
  const std::string svg = "http://www.w3.org/2000/svg";  // a name, never fetched
  page.erase(page.find(svg), svg.size());
  for (const char* forbidden : {"http:", "https:", "//cdn", "src=", "@import", "url(", "innerHTML", "outerHTML",
                                "insertAdjacentHTML", "document.write", "eval("})
    EXPECT_THAT(page, Not(HasSubstr(forbidden)));
  EXPECT_THAT(page, HasSubstr("fetch(\"api/state\""));
}

}  // namespace
}  // namespace trident
