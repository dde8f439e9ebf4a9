#include "launch/node_faults.h"

#include <gtest/gtest.h>

#include <csignal>

#include "launch/injection_journal.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

namespace fs = std::filesystem;

class NodeFaultsTest : public testing::Test {
 protected:
  [[nodiscard]] NodeFaults node(int number, const std::string& faults) const {
    return NodeFaults({parse_faults(faults), number, std::string(1, static_cast<char>('a' + number)), journal()});
  }
  [[nodiscard]] fs::path journal() const { return folder_.path() / "injected.jsonl"; }

  test::ScratchDir folder_;
};

TEST_F(NodeFaultsTest, CutsALinkOnceAtItsStep) {
  const std::string fault = "cut_link@node=1,step=5,epoch=once,seconds=3600";
  NodeFaults b = node(1, fault + ";kill@rank=1,step=1,epoch=once;cut_link@node=2,step=1,epoch=once,seconds=9");
  b.advance({1, 4});
  EXPECT_TRUE(b.cable()->lets_out());
  b.advance({1, 6});
  EXPECT_FALSE(b.cable()->lets_out());
  EXPECT_TRUE(b.none());
  const auto injections = read_injections(journal());
  ASSERT_EQ(injections.size(), 1U);
  EXPECT_EQ(injections[0].fault, fault);
  EXPECT_EQ(injections[0].host, "b");
}

TEST_F(NodeFaultsTest, AnotherAgentOfTheNodeStaysCutAndDoesNotBeginAgain) {
  const std::string fault = "one_way_link@node=1,step=5,epoch=once,seconds=3600";
  node(1, fault).advance({1, 5});
  NodeFaults again = node(1, fault);
  EXPECT_FALSE(again.cable()->lets_out());
  EXPECT_TRUE(again.cable()->lets_in());
  again.advance({2, 9});
  EXPECT_EQ(read_injections(journal()).size(), 1U);
  const NodeFaults other = node(2, fault);
  EXPECT_EQ(other.cable(), nullptr);
}

TEST_F(NodeFaultsTest, ALinkTakesTwoNodes) {
  NodeFaults a = node(0, "cut_link@node=0,step=5,epoch=once,seconds=3600");
  a.advance({.epoch = 1, .step = 6, .coordinates = true, .nodes = 1});
  EXPECT_TRUE(a.cable()->lets_out());
  a.advance({.epoch = 2, .step = 7, .coordinates = true});
  EXPECT_FALSE(a.cable()->lets_out());
}

TEST_F(NodeFaultsTest, HappensInItsEpochOnly) {
  NodeFaults b = node(1, "cut_link@node=1,step=5,epoch=2,seconds=3600");
  b.advance({1, 9});
  EXPECT_TRUE(b.cable()->lets_out());
  b.advance({2, 9});
  EXPECT_FALSE(b.cable()->lets_out());
}

TEST_F(NodeFaultsTest, AgentAndCoordinatorAreKilledWhereTheyAre) {
  const std::string faults = "agent_kill@node=1,step=2,epoch=once;coordinator_kill@step=3,epoch=once";
  NodeFaults b = node(1, faults);
  b.advance({.epoch = 1, .step = 2, .coordinates = true, .nodes = 3});
  b.advance({.epoch = 1, .step = 3, .coordinates = true, .nodes = 2});
  EXPECT_EXIT(b.advance({.epoch = 1, .step = 3, .coordinates = true, .nodes = 3}), testing::KilledBySignal(SIGKILL),
              "");
  EXPECT_EXIT(node(1, faults).advance({1, 2}), testing::KilledBySignal(SIGKILL), "");
  // Both have happened; nothing does again.
  node(1, faults).advance({1, 9});
  node(0, faults).advance({.epoch = 1, .step = 9, .coordinates = true, .nodes = 3});
}

}  // namespace
}  // namespace trident
