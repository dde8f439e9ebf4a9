#include "launch/node_messages.h"

#include <gtest/gtest.h>

namespace trident {
namespace {

NodeReport full_report() {
  NodeReport report;
  report.asked_ns = 1;
  report.answered_ns = 2;
  report.ready = true;
  report.alive = "process 7 on b";
  report.neighbours = {{3, 0.5}};
  report.state.share = {9, 2, 1};
  RankState rank;
  rank.rank = 2;
  rank.pid = 77;
  rank.host = "b";
  rank.ended = rank.lost = rank.daemon_gone = true;
  rank.wait_status = 9;
  rank.end_order = 1;
  rank.idle_s = 1.25;
  RankRecord& record = rank.record;
  record.state = RankRecord::State::failed;
  record.message = "what went wrong";
  record.ended_ns = 4000;
  record.phase = TrainPhase::exchange;
  record.step = 12;
  record.action = pipeline::Action{1, pipeline::Op::backward, 3};
  record.done = 11;
  record.committed = 10;
  record.busy_seconds = 0.75;
  record.groups.push_back({.group = "dp", .peer = 1, .op = CollectiveOp::send, .entered = 5, .left = 4, .bytes = 64});
  record.waits_in = 0;
  record.phases[3].counts[DurationCounts::kBuckets - 1] = 8;
  report.state.ranks.push_back(rank);
  report.copies = {9, 10, 11, "no room", true};
  return report;
}

TEST(NodeMessages, AReportComesBackWhole) {
  const NodeReport sent = full_report();
  const auto got = decode_report(encode(sent, 5000), 900000);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->answered_ns, 2);
  EXPECT_TRUE(got->ready);
  EXPECT_EQ(got->alive, sent.alive);
  EXPECT_EQ(got->neighbours, sent.neighbours);
  EXPECT_EQ(got->state.share, sent.state.share);
  EXPECT_EQ(got->copies, sent.copies);
  const RankState &rank = got->state.ranks.at(0), &before = sent.state.ranks.at(0);
  EXPECT_EQ(rank.pid, 77);
  EXPECT_TRUE(rank.ended && rank.lost && rank.daemon_gone && !rank.stopped && !rank.kernel_killed);
  EXPECT_EQ(rank.wait_status, 9);
  EXPECT_EQ(rank.idle_s, 1.25);
  EXPECT_EQ(rank.record.message, before.record.message);
  EXPECT_EQ(rank.record.phase, TrainPhase::exchange);
  EXPECT_EQ(rank.record.action->microbatch, 3);
  EXPECT_EQ(rank.record.groups.at(0).entered, 5U);
  EXPECT_EQ(rank.record.waits_in, 0U);
  EXPECT_EQ(rank.record.phases[3].counts, before.record.phases[3].counts);
}

TEST(NodeMessages, AnEndIsToldByHowLongAgoItWas) {
  const auto got = decode_report(encode(full_report(), 5000), 900000);
  EXPECT_EQ(got->state.ranks.at(0).record.ended_ns, 899000);
}

TEST(NodeMessages, NothingShorterOrLongerIsOne) {
  const std::string whole = encode(full_report(), 5000);
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_FALSE(decode_report(whole.substr(0, size), 0)) << size;
  EXPECT_FALSE(decode_report(whole + "x", 0));
}

TEST(NodeMessages, ARankOutsideItsNodesShareIsRefused) {
  NodeReport report = full_report();
  report.state.ranks[0].rank = 3;
  EXPECT_FALSE(decode_report(encode(report, 0), 0));
}

TEST(NodeMessages, AnOrderTellsWhoElseThereIs) {
  const NodeBegin order{{4, 2, 2}, {1, {{0, "a", "10.0.0.1", 99, 5}, {1, "b", "fd00::1", 7, 6}}, {0, 1}}};
  const auto got = decode_begin(encode(order));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->share, order.share);
  EXPECT_EQ(got->view, order.view);
}

TEST(NodeMessages, AnOrderToCopyComesBackWhole) {
  const CopyOrder order{4, 10, 11, {{2, {"10.0.0.2", 77}}, {3, {}}}, {0, 1}};
  EXPECT_EQ(decode_copy_order(encode(order)), order);
  EXPECT_FALSE(decode_copy_order(encode(order) + "x"));
  EXPECT_FALSE(decode_copy_order(encode(CopyOrder{4, -2, 11, {}, {}})));
}

}  // namespace
}  // namespace trident
