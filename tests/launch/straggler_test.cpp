#include "launch/straggler.h"

#include <gtest/gtest.h>

namespace trident {
namespace {

GangState gang_of(const MeshShape& mesh, const std::vector<double>& busy, int64_t step) {
  GangState gang;
  gang.mesh = mesh;
  for (size_t i = 0; i < busy.size(); ++i) {
    RankState state;
    state.rank = static_cast<int>(i);
    state.record.done = step;
    state.record.busy_seconds = busy[i];
    gang.ranks.push_back(state);
  }
  return gang;
}

TEST(Straggler, NamedOnceAndOnceWhenItIsOver) {
  StragglerWatch watch(4);
  std::vector<int> named, over;
  for (int step = 1; step <= 60; ++step) {
    const double busy = step <= 30 ? 2.0 : 1.0;
    for (const Straggler& found : watch.look(gang_of({4, 1, 1}, {1.0, 1.02, busy, 0.98}, step)))
      (found.over ? over : named).push_back(found.rank * 1000 + step);
  }
  EXPECT_EQ(named, (std::vector<int>{2009}));
  EXPECT_EQ(over, (std::vector<int>{2039}));
}

TEST(Straggler, SlowNowAndThenIsNoStraggler) {
  StragglerWatch watch(4);
  for (int step = 1; step <= 100; ++step)
    EXPECT_TRUE(watch.look(gang_of({4, 1, 1}, {1.0, 1.0, step % 4 == 0 ? 1.0 : 3.0, 1.0}, step)).empty());
}

TEST(Straggler, AStepCountsOnce) {
  StragglerWatch watch(2);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(watch.look(gang_of({2, 1, 1}, {1.0, 5.0}, 1)).empty());
}

TEST(Straggler, MillisecondsAreNone) {
  StragglerWatch watch(2);
  for (int step = 1; step <= 20; ++step) EXPECT_TRUE(watch.look(gang_of({2, 1, 1}, {0.001, 0.004}, step)).empty());
}

// Stages differ; only replicas of the same one are peers.
TEST(Straggler, StagesAreNotCompared) {
  StragglerWatch watch(4);
  for (int step = 1; step <= 20; ++step)
    EXPECT_TRUE(watch.look(gang_of({2, 1, 2}, {1.0, 1.0, 3.0, 3.0}, step)).empty());
  StragglerWatch alone(2);
  for (int step = 1; step <= 20; ++step) EXPECT_TRUE(alone.look(gang_of({1, 1, 2}, {1.0, 3.0}, step)).empty());
}

}  // namespace
}  // namespace trident
