#include "parallel/pipeline/timeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "core/error.h"
#include "tests/parallel/pipeline/drawn_trace.h"
#include "tests/scratch_dir.h"

namespace trident::pipeline {
namespace {

using nlohmann::json;
using testing::HasSubstr;

json drawn_by(const Timeline& timeline) { return json::parse(to_chrome_trace(timeline, {})); }

TEST(Timeline, TellsOperationsOfOneGroupApart) {
  Timeline timeline;
  timeline.start();
  const ProgressRecord first{"dp", 7, CollectiveOp::all_gather, 4'000'000}, second{"dp", 8, CollectiveOp::barrier, 0};
  const ProgressRecord up{"pp", 0, CollectiveOp::recv, 999}, down{"pp", 0, CollectiveOp::recv, 999};
  for (const ProgressRecord* record : {&first, &second, &up, &down}) timeline.entered(*record);
  for (const ProgressRecord* record : {&down, &first, &second, &up}) timeline.left(*record);
  ASSERT_EQ(timeline.events().size(), 4U);
  EXPECT_LE(timeline.events()[3].end, timeline.events()[0].end) << "the second receive was done first";
  EXPECT_GE(timeline.events()[2].end, timeline.events()[1].end);

  const json trace = drawn_by(timeline);
  expect_nesting(trace);
  const auto drawn = spans(trace);
  EXPECT_EQ(drawn[0].name, "all_gather dp 4.0 MB");
  EXPECT_EQ(drawn[1].name, "barrier dp");
  EXPECT_EQ(drawn[2].name, "recv pp 999 B");
  EXPECT_NE(drawn[0].thread, drawn[1].thread) << "they overlap";
  EXPECT_NE(drawn[2].thread, drawn[3].thread);
}

TEST(Timeline, ReusesARowThatIsFree) {
  Timeline timeline;
  timeline.start();
  for (uint64_t i = 1; i <= 3; ++i) {
    const ProgressRecord record{"tp", i, CollectiveOp::all_reduce, 1'000};
    timeline.entered(record);
    timeline.left(record);
  }
  const auto drawn = spans(drawn_by(timeline));
  EXPECT_EQ(drawn[0].thread, drawn[2].thread);
  EXPECT_EQ(drawn[0].name, "all_reduce tp 1.0 kB");
}

TEST(Timeline, RecordsOnlyBetweenStartAndStop) {
  Timeline timeline;
  const ProgressRecord before{"dp", 1, CollectiveOp::barrier, 0}, within{"dp", 2, CollectiveOp::barrier, 0},
      after{"dp", 3, CollectiveOp::barrier, 0};
  const Action action{0, Op::forward, 3};
  timeline.entered(before);
  { const Timeline::Span span(&timeline, action); }
  timeline.start();
  timeline.left(before);
  timeline.entered(within);
  { const Timeline::Span span(&timeline, action); }
  { const Timeline::Span none(nullptr, action); }
  timeline.stop();
  timeline.left(within);
  timeline.entered(after);
  timeline.left(after);
  ASSERT_EQ(timeline.events().size(), 2U);
  EXPECT_EQ(timeline.events()[0].sequence, 2U);
  EXPECT_NE(timeline.events()[0].end, Timeline::kUnfinished);
  EXPECT_EQ(timeline.events()[1].action, action);
}

TEST(Timeline, SaysWhatNeverEnded) {
  Timeline timeline;
  timeline.start();
  const ProgressRecord lost{"dp", 1, CollectiveOp::barrier, 0};
  timeline.entered(lost);
  { const Timeline::Span span(&timeline, {2, Op::backward_weight, 0}); }
  const auto drawn = spans(drawn_by(timeline));
  EXPECT_TRUE(drawn[0].unfinished);
  EXPECT_FALSE(drawn[1].unfinished);
  EXPECT_EQ(drawn[1].name, "W mb0");
  EXPECT_NEAR(drawn[0].end, drawn[1].end, kRounding) << "it lasts as long as the record";
}

TEST(Timeline, AnAbandonedOperationsRecordMayBeReused) {
  Timeline timeline;
  timeline.start();
  const ProgressRecord record{"dp", 1, CollectiveOp::barrier, 0};
  timeline.entered(record);
  timeline.entered(record);
  timeline.left(record);
  EXPECT_EQ(timeline.events()[0].end, Timeline::kUnfinished);
  EXPECT_NE(timeline.events()[1].end, Timeline::kUnfinished);
}

TEST(Timeline, IsBoundedAndSaysSo) {
  Timeline timeline({.most_events = 3});
  timeline.start();
  const ProgressRecord first{"dp", 1, CollectiveOp::barrier, 0}, fourth{"dp", 2, CollectiveOp::barrier, 0};
  timeline.entered(first);
  for (int32_t i = 0; i < 4; ++i) const Timeline::Span span(&timeline, {0, Op::forward, i});
  timeline.entered(fourth);
  timeline.left(fourth);
  timeline.left(first);
  EXPECT_EQ(timeline.events().size(), 3U);
  EXPECT_EQ(timeline.dropped(), 3U);
  EXPECT_NE(timeline.events()[0].end, Timeline::kUnfinished) << "begun before";
  const json trace = drawn_by(timeline);
  EXPECT_EQ(trace.at("otherData").at("dropped_events"), 3);
  EXPECT_EQ(trace.at("otherData").at("events"), 3);
  EXPECT_THAT(trace.dump(), HasSubstr("recording is full from here"));
}

TEST(Timeline, AnEmptyOneIsATraceToo) {
  const json trace = json::parse(to_chrome_trace(Timeline(), {.rank = 3, .stages = {1, 5}}));
  EXPECT_TRUE(spans(trace).empty());
  EXPECT_EQ(trace.at("traceEvents").at(0).at("args").at("name"), "rank 3 (stage 1, 5)");
}

TEST(Timeline, AnyBytesMakeAFileThatParses) {
  const test::ScratchDir folder;
  Timeline timeline;
  timeline.start();
  const ProgressRecord record{"a\"b\\\n\x01\xff", 1, CollectiveOp::broadcast, 1'999'999'999};
  timeline.entered(record);
  timeline.left(record);
  write_chrome_trace(folder / "rank_00000.json", timeline, {0, {}, "\xc3\x28\""});
  std::ifstream file(folder / "rank_00000.json");
  const json trace = json::parse(file);
  EXPECT_THAT(spans(trace)[0].name, testing::AllOf(HasSubstr("broadcast a\"b\\\n"), HasSubstr(" 2.0 GB")));
  EXPECT_THROW(write_chrome_trace(folder / "no" / "t.json", timeline, {}), Error);
}

TEST(Timeline, AMomentOfTheSystemClockIsAnOriginForAllMachines) {
  using std::chrono::seconds;
  const auto before = std::chrono::steady_clock::now();
  const auto moment = std::chrono::system_clock::now();
  const auto after = std::chrono::steady_clock::now();
  EXPECT_GT(on_this_clock(moment), before - seconds(1));
  EXPECT_LT(on_this_clock(moment), after + seconds(1));
  const auto later = on_this_clock(moment + seconds(500)) - on_this_clock(moment);
  EXPECT_GT(later, seconds(499));
  EXPECT_LT(later, seconds(501));
}

}  // namespace
}  // namespace trident::pipeline
