#include "launch/copy_rounds.h"

#include <gtest/gtest.h>

#include <utility>

namespace trident {
namespace {

/// Only copies.
class CopyingNode final : public Node {
 public:
  explicit CopyingNode(std::string host) : host_(std::move(host)) {}

  [[nodiscard]] const std::string& host() const override { return host_; }
  void begin(const NodeShare& /*share*/) override {}
  [[nodiscard]] bool ready() const override { return true; }
  void signal(int /*number*/) override {}
  void fence() override {}
  [[nodiscard]] std::optional<std::string> alive() const override { return std::nullopt; }
  void clear() override {}
  void remove_snapshots() override {}
  [[nodiscard]] CopyAddress copies_at() const override { return {host_, 7}; }
  void copy(const CopyOrder& order) override {
    ordered = order;
    ++orders;
  }
  [[nodiscard]] CopyState copied() const override { return state; }
  [[nodiscard]] NodeState look() override { return {}; }
  void watch(std::vector<pollfd>& /*events*/) const override {}
  void advance() override {}

  CopyOrder ordered;
  int orders = 0;
  CopyState state;

 private:
  std::string host_;
};

class CopyRoundsTest : public ::testing::Test {
 protected:
  void begin(int64_t epoch) { rounds_.begin(epoch, {4, 1, 1}, kDefaultMeshOrder, {{&a_, 2}, {&b_, 2}}); }
  void copied(int64_t epoch, int64_t step) { a_.state = b_.state = {epoch, step, -1, {}, false}; }

  CopyingNode a_{"a"}, b_{"b"};
  CopyRounds rounds_{2};
};

TEST_F(CopyRoundsTest, AStepIsAskedForThatNobodyHasComeTo) {
  begin(3);
  EXPECT_FALSE(rounds_.advance(-1));
  EXPECT_EQ(a_.orders, 0);
  EXPECT_FALSE(rounds_.advance(10));
  EXPECT_EQ(a_.ordered, (CopyOrder{3, -1, 12, {{0, {"b", 7}}, {1, {"b", 7}}}, {2, 3}}));
  EXPECT_EQ(b_.ordered, (CopyOrder{3, -1, 12, {{2, {"a", 7}}, {3, {"a", 7}}}, {0, 1}}));
  EXPECT_FALSE(rounds_.advance(13));
  EXPECT_EQ(a_.orders, 1);
}

TEST_F(CopyRoundsTest, TheNextOneIsAskedForOnceAllHaveCopied) {
  begin(3);
  (void)rounds_.advance(10);
  a_.state = {3, 12, -1, {}, false};
  (void)rounds_.advance(13);
  b_.state = {2, 12, -1, {}, false};  // of another epoch
  (void)rounds_.advance(13);
  EXPECT_EQ(a_.orders, 1);
  b_.state = {3, 12, -1, {}, false};
  (void)rounds_.advance(13);
  EXPECT_EQ(a_.ordered.base, 12);
  EXPECT_EQ(a_.ordered.next, 14);
  EXPECT_EQ(rounds_.base(), 12);
}

TEST_F(CopyRoundsTest, AMissedStepIsFollowedByOneFurtherAhead) {
  begin(3);
  (void)rounds_.advance(10);
  b_.state = {3, -1, 12, {}, false};
  (void)rounds_.advance(14);
  EXPECT_EQ(a_.ordered.base, -1);
  EXPECT_EQ(a_.ordered.next, 18);
  (void)rounds_.advance(14);
  EXPECT_EQ(a_.orders, 2);
}

TEST_F(CopyRoundsTest, WhatHasNoRoomIsToldOnceAndEndsThem) {
  begin(3);
  (void)rounds_.advance(10);
  b_.state = {3, -1, -1, "no room", true};
  EXPECT_EQ(rounds_.advance(11), "b: no room");
  EXPECT_EQ(a_.ordered.base, -1);
  EXPECT_EQ(a_.ordered.next, -1);
  EXPECT_FALSE(rounds_.advance(12));
  EXPECT_EQ(a_.orders, 2);
}

// It may be reached again.
TEST_F(CopyRoundsTest, APartnerThatIsNotReachedIsToldOnceAndTriedOn) {
  begin(3);
  (void)rounds_.advance(10);
  b_.state = {3, -1, -1, "a cannot be reached", false};
  EXPECT_EQ(rounds_.advance(11), "b: a cannot be reached");
  EXPECT_FALSE(rounds_.advance(12));
  EXPECT_EQ(a_.orders, 1);
  copied(3, 12);
  EXPECT_FALSE(rounds_.advance(13));
  EXPECT_EQ(a_.ordered.next, 14);
}

// A state that is on two nodes stays until the next epoch has copied one of its own.
TEST_F(CopyRoundsTest, TheBaseHoldsAcrossEpochsOfTheSameRanks) {
  begin(3);
  (void)rounds_.advance(10);
  copied(3, 12);
  (void)rounds_.advance(13);
  begin(4);
  (void)rounds_.advance(13);
  EXPECT_EQ(a_.ordered.epoch, 4);
  EXPECT_EQ(a_.ordered.base, 12);
  begin(5);
  (void)rounds_.advance(8);
  EXPECT_EQ(a_.ordered.base, -1) << "training went on from before it";
  rounds_.begin(6, {2, 1, 2}, kDefaultMeshOrder, {{&b_, 3}, {&a_, 1}});
  (void)rounds_.advance(8);
  EXPECT_EQ(a_.ordered.base, -1);
}

TEST_F(CopyRoundsTest, OneNodeAndNoSnapshotsMeanNothingToCopy) {
  rounds_.begin(3, {4, 1, 1}, kDefaultMeshOrder, {{&a_, 4}});
  (void)rounds_.advance(10);
  CopyRounds none(0);
  none.begin(3, {4, 1, 1}, kDefaultMeshOrder, {{&a_, 2}, {&b_, 2}});
  (void)none.advance(10);
  EXPECT_EQ(a_.orders, 0);
}

// Three ranks of four on one node: not all have a partner elsewhere.
TEST_F(CopyRoundsTest, ARankWhosePartnerIsOnItsOwnNodeOnlyKeeps) {
  rounds_.begin(3, {4, 1, 1}, kDefaultMeshOrder, {{&a_, 3}, {&b_, 1}});
  (void)rounds_.advance(10);
  ASSERT_EQ(a_.ordered.sends.size(), 3U);
  int kept = 0;
  for (const CopyDuty& duty : a_.ordered.sends) kept += duty.to.port == 0 ? 1 : 0;
  EXPECT_EQ(kept, 2);
  EXPECT_EQ(a_.ordered.receives, (std::vector<int32_t>{3}));
}

}  // namespace
}  // namespace trident
