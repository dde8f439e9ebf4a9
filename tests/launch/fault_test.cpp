#include "launch/fault.h"

#include <gtest/gtest.h>

#include "core/error.h"

namespace trident {
namespace {

TEST(FaultInjection, ReadsSchedules) {
  const auto faults = parse_faults(
      "kill@rank=2,step=5;exit@rank=1,step=9,code=3,epoch=0,phase=optimizer;"
      "slow@rank=0,seconds=0.5,phase=forward");
  ASSERT_EQ(faults.size(), 3U);
  EXPECT_EQ(faults[0].kind, InjectedFault::Kind::kill);
  EXPECT_EQ(faults[0].rank, 2);
  EXPECT_EQ(faults[0].step, 5);
  EXPECT_EQ(faults[0].epoch, 1);
  EXPECT_EQ(faults[1].code, 3);
  EXPECT_EQ(faults[1].epoch, 0);
  EXPECT_EQ(faults[1].phase, TrainPhase::optimizer);
  EXPECT_EQ(faults[2].seconds, 0.5);
  EXPECT_EQ(faults[2].phase, TrainPhase::forward_backward);
  EXPECT_TRUE(parse_faults("").empty());
  EXPECT_EQ(parse_faults(to_text(faults)), faults);
}

TEST(FaultInjection, TellsFaultsOfNodesApart) {
  const auto faults = parse_faults(
      "cut_link@node=2,step=5,seconds=0.5,times=3;coordinator_kill@step=9,epoch=once;forged_frames@node=1,step=2");
  ASSERT_EQ(faults.size(), 3U);
  EXPECT_EQ(faults[0].kind, InjectedFault::Kind::cut_link);
  EXPECT_EQ(faults[0].node, 2);
  EXPECT_EQ(faults[0].times, 3);
  EXPECT_TRUE(concerns_link(faults[0].kind));
  EXPECT_FALSE(concerns_link(faults[2].kind));
  EXPECT_TRUE(concerns_node(faults[1].kind));
  EXPECT_FALSE(concerns_node(InjectedFault::Kind::restore));
  EXPECT_EQ(to_text(faults[0]), "cut_link@node=2,step=5,seconds=0.5,times=3");
  EXPECT_EQ(to_text(faults[1]), "coordinator_kill@step=9,epoch=once");
  EXPECT_EQ(parse_faults(to_text(faults)), faults);
}

TEST(FaultInjection, RefusesWhatItDoesNotUnderstand) {
  for (const char* text : {"explode@rank=1", "kill@rank=x", "kill@rank=", "kill@where=1", "kill@rank=1,phase=lunch",
                           "kill@rank=-1", "kill@rank=1 ", "flip@in=disk", "kill@epoch=twice", ";"})
    EXPECT_THROW((void)parse_faults(text), Error) << text;
}

}  // namespace
}  // namespace trident
