#include "launch/status/watch_screen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <sstream>

#include "core/error.h"
#include "launch/status/state_json.h"
#include "launch/status/watch_source.h"
#include "status_run.h"

namespace trident {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string made_up_state() {
  const StatusRun made;
  for (int64_t step = 1; step <= 50; ++step) made.step(step, 3.0 - 0.02 * static_cast<double>(step));
  EventRecord verdict{.event = RunEvent::verdict, .step = 7, .rank = 2, .cause = "killed"};
  verdict.detail = "rank 2 was\n\x1b[2J\x1b]0;title\x07 killed \xc2\x9b[31m";
  made.event(verdict);
  made.event({.event = RunEvent::restart, .step = 7});
  EventRecord slow{.event = RunEvent::straggler, .step = 20, .rank = 3};
  slow.host = "node";
  slow.ratio = 1.75;
  made.event(slow);
  RankBoard board;
  board.publish(status_gang({40, 1, 1}, std::vector<double>(40, 1.0), 50), 1);
  RunFiles files(made.run());
  files.update();
  return state_json(
      make_status(made.run(), {.run_name = "kjv", .total_steps = 100}, files, board.latest(), board.latest()->time));
}

long widest(const std::string& text) {
  long most = 0;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const auto starts = [](char byte) { return (static_cast<unsigned char>(byte) & 0xc0U) != 0x80U; };
    most = std::max(most, std::count_if(line.begin(), line.end(), starts));
  }
  return most;
}

TEST(WatchScreen, ShowsWhatMatters) {
  const std::string screen = watch_screen(made_up_state(), "here", {});
  for (const char* part : {"kjv  training", "step 50/100", "loss 2.0000", "200 tok/s", "eta 25s", "dp 40 tp 1 pp 1",
                           "useful ", "straggler: rank 3 on node since step 20, 1.75 times", "rank 2 was", "… 24 more"})
    EXPECT_THAT(screen, HasSubstr(part));
  // A rank that straggles is shown however many there are.
  EXPECT_LT(screen.find("    3 running"), screen.find("    0 running"));
}

TEST(WatchScreen, KeepsToItsWindow) {
  const std::string state = made_up_state();
  for (const int columns : {40, 60, 80, 200})
    EXPECT_LE(widest(watch_screen(state, std::string(300, 'f'), {Colour::never, columns})), columns);
  const std::string few = watch_screen(state, std::string(300, 'f'), {Colour::never, 40}, 5);
  EXPECT_EQ(std::count(few.begin(), few.end(), '\n'), 5);
}

TEST(WatchScreen, WithoutColourThereIsNoEscape) {
  const std::string screen = watch_screen(made_up_state(), "here", {});
  EXPECT_THAT(screen, Not(HasSubstr("\x1b")));
  EXPECT_THAT(screen, Not(HasSubstr("\x07")));
  EXPECT_THAT(screen, Not(HasSubstr("\xc2\x9b")));
  const std::string coloured = watch_screen(made_up_state(), "here", {Colour::ansi, 80});
  EXPECT_THAT(coloured, HasSubstr("\x1b[31m"));
  EXPECT_THAT(coloured, Not(HasSubstr("\x1b[2J"))) << "a run's text steers the terminal";
}

TEST(WatchScreen, ShowsWhatIsThere) {
  EXPECT_THAT(watch_screen("{}", "", {}), HasSubstr("loss n/a"));
  EXPECT_THAT(watch_screen(R"({"run":7,"ranks":{"a":1},"events":[1,null],"curves":[],"mesh":"x","ledger":3})", "", {}),
              HasSubstr("step 0"));
  EXPECT_THROW((void)watch_screen("[]", "", {}), Error);
  EXPECT_THROW((void)watch_screen("<html>", "", {}), Error);
}

TEST(WatchScreen, RandomBytesNeverBreakIt) {
  std::mt19937 random(3);
  const std::string good = made_up_state();
  for (int round = 0; round < 200; ++round) {
    std::string state = good;
    for (int flips = 0; flips < 3; ++flips) state[random() % state.size()] = static_cast<char>('0' + random() % 10);
    try {
      (void)watch_screen(state, std::string(300, 'f'), {Colour::ansi, 40});
    } catch (const Error&) {
      continue;
    }
  }
}

TEST(WatchSource, GoesToTheFilesWhereNobodyAnswers) {
  const StatusRun made;
  made.step(3, 1.5);
  WatchSource source(made.run(), {});
  EXPECT_THAT(source.state().from, HasSubstr("no status server"));
  for (const char* place : {"garbage", "[]", R"({"url":7})", R"({"url":"http://127.0.0.1:1","host":"elsewhere"})",
                            R"({"url":"file:///etc/passwd"})"}) {
    std::ofstream(made.run().status(), std::ios::trunc) << place;
    const auto state = source.state();
    EXPECT_FALSE(state.live) << place;
    EXPECT_THAT(state.json, HasSubstr("\"loss\":1.5"));
  }
}

}  // namespace
}  // namespace trident
