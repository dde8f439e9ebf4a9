#include "launch/fault_schedule.h"

#include <gmock/gmock.h>

#include <set>

#include "train/config/diagnostics.h"

namespace trident {
namespace {

using testing::HasSubstr;
using Kind = InjectedFault::Kind;

std::string problems_of(const std::string& text, const FaultScope& job = {4}) {
  try {
    (void)parse_fault_schedule(text, "faults.yaml", job);
  } catch (const ConfigErrors& error) {
    return error.what();
  }
  return {};
}

TEST(FaultSchedule, SaysWhatTheShortFormSays) {
  const auto faults = parse_fault_schedule(R"(faults:
  - {kind: kill, rank: 2, step: 5, epoch: 1}
  - {kind: exit, rank: 1, step: 9, code: 3, phase: optimizer}
  - {kind: nan, rank: 0, step: 10, follows: data}
  - {kind: hung_disk, step: 11, seconds: 500ms}
  - {kind: flip, rank: 3, step: 12, in: gradient, seed: 8}
)",
                                           "faults.yaml", {4});
  EXPECT_EQ(faults, parse_faults("kill@rank=2,step=5;exit@rank=1,step=9,code=3,phase=optimizer,epoch=once;"
                                 "nan@rank=0,step=10,epoch=0;hung_disk@step=11,seconds=0.5,epoch=once;"
                                 "flip@rank=3,step=12,in=gradient,seed=8,epoch=once"));
  EXPECT_EQ(faults.back().phase, TrainPhase::optimizer);
}

TEST(FaultSchedule, DrawsTheSameForASeed) {
  const std::string text = "random: {faults: 200, seed: 7, kinds: [kill, stop, flip], every_steps: 5, from_step: 2}";
  const auto faults = parse_fault_schedule(text, "faults.yaml", {4});
  ASSERT_EQ(faults.size(), 200U);
  EXPECT_EQ(faults, parse_fault_schedule(text, "other.yaml", {4}));
  EXPECT_NE(faults, parse_fault_schedule("random: {faults: 200, seed: 8, kinds: [kill, stop, flip], every_steps: 5, "
                                         "from_step: 2}",
                                         "faults.yaml", {4}));
  std::set<Kind> kinds;
  std::set<int> ranks;
  for (size_t i = 0; i < faults.size(); ++i) {
    EXPECT_EQ(faults[i].step, 2 + 5 * static_cast<int64_t>(i));
    EXPECT_EQ(faults[i].epoch, InjectedFault::kOnce);
    kinds.insert(faults[i].kind);
    ranks.insert(faults[i].rank);
  }
  EXPECT_EQ(kinds, (std::set{Kind::kill, Kind::stop, Kind::flip}));
  EXPECT_EQ(ranks, (std::set{0, 1, 2, 3}));
  EXPECT_EQ(parse_faults(to_text(faults)), faults);
}

TEST(FaultSchedule, MixesDrawsAndListsByStep) {
  const auto faults = parse_fault_schedule(R"(faults: [{kind: stop, rank: 1, step: 6}]
random: [{faults: 2, kinds: [kill]}, {faults: 1, from_step: 5, kinds: [exit]}]
)",
                                           "faults.yaml", {2});
  ASSERT_EQ(faults.size(), 4U);
  EXPECT_EQ(faults[0].step, 4);
  EXPECT_EQ(faults[1].kind, Kind::exit);
  EXPECT_EQ(faults[2].kind, Kind::stop);
  EXPECT_EQ(faults[3].step, 7);
}

TEST(FaultSchedule, SaysAllThatIsWrongAtOnce) {
  const std::string problems = problems_of(R"(faults:
  - {kind: kil, rank: 4, step: 5}
  - {rank: 1, when: 3, step: 0}
  - {kind: nan, step: 3, follows: data, epoch: 2}
random: {fault: 3, kinds: [stop, sleep], seed: x, phases: night}
dom: 1
)");
  EXPECT_THAT(problems, HasSubstr("faults.yaml:2:12"));
  EXPECT_THAT(problems, HasSubstr("kill"));
  EXPECT_THAT(problems, HasSubstr("faults.rank is 4"));
  EXPECT_THAT(problems, HasSubstr("faults.yaml:3:5: faults.kind is missing"));
  EXPECT_THAT(problems, HasSubstr("unknown key faults.when"));
  EXPECT_THAT(problems, HasSubstr("faults.step is 0"));
  EXPECT_THAT(problems, HasSubstr("say two things"));
  EXPECT_THAT(problems, HasSubstr("did you mean faults?"));
  EXPECT_THAT(problems, HasSubstr("sleep"));
  EXPECT_THAT(problems, HasSubstr("faults.yaml:5:48"));
  EXPECT_THAT(problems, HasSubstr("random.phases is no list"));
  EXPECT_THAT(problems, HasSubstr("unknown key dom"));
  EXPECT_THAT(problems_of("- kill"), HasSubstr("E301"));
  EXPECT_THAT(problems_of("faults: {kind: kill, step: 1}"), HasSubstr("faults is no list"));
  EXPECT_THAT(problems_of("faults: [kill]"), HasSubstr("no mapping"));
}

TEST(FaultSchedule, KnowsFaultsOfNodes) {
  const auto faults = parse_fault_schedule(R"(faults:
  - {kind: cut_link, node: 2, step: 5}
  - {kind: one_way_link, node: 1, step: 6, seconds: 500ms, times: 4}
  - {kind: forged_frames, node: 0, step: 7}
  - {kind: coordinator_kill, step: 8}
)",
                                           "faults.yaml", {4, 3});
  EXPECT_EQ(to_text(faults),
            "cut_link@node=2,step=5,epoch=once,seconds=4;one_way_link@node=1,step=6,epoch=once,seconds=0.5,times=4;"
            "forged_frames@node=0,step=7,epoch=once;coordinator_kill@step=8,epoch=once");

  std::set<int> nodes;
  for (const InjectedFault& fault :
       parse_fault_schedule("random: {faults: 60, kinds: [cut_link, agent_kill]}", "faults.yaml", {8, 3})) {
    nodes.insert(fault.node);
    EXPECT_EQ(fault.rank, 0);
    EXPECT_EQ(fault.seconds, fault.kind == Kind::cut_link ? 4 : 0);
  }
  EXPECT_EQ(nodes, (std::set{0, 1, 2}));
}

TEST(FaultSchedule, RefusesWhatAJobCannotHave) {
  const std::string two = problems_of(R"(faults:
  - {kind: agent_kill, node: 2, step: 5}
  - {kind: cut_link, node: 1, step: 6, rank: 3, phase: forward}
  - {kind: coordinator_kill, step: 7}
  - {kind: kill, rank: 1, node: 1, step: 7}
)",
                                      {4, 2});
  EXPECT_THAT(two, HasSubstr("faults.node is 2"));
  EXPECT_THAT(two, HasSubstr("unknown key faults.rank"));
  EXPECT_THAT(two, HasSubstr("unknown key faults.phase"));
  EXPECT_THAT(two, HasSubstr("faults.yaml:4:5: of two nodes one is not most"));
  EXPECT_THAT(two, HasSubstr("unknown key faults.node"));
  EXPECT_THAT(problems_of("faults: [{kind: cut_link, step: 5}]"), HasSubstr("takes several nodes"));
  EXPECT_THAT(problems_of("random: {kinds: [kill, agent_kill]}"), HasSubstr("agent_kill takes several nodes"));

  const char* flip = "faults: [{kind: flip, in: gradient, step: 5}]";
  EXPECT_EQ(problems_of(flip), "");
  EXPECT_THAT(problems_of(flip, {4, 1, false}), HasSubstr("cannot be found"));
  EXPECT_EQ(problems_of("faults: [{kind: flip, in: weight, step: 5}]", {4, 1, false}), "");
}

}  // namespace
}  // namespace trident
