#include "launch/wait_graph.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <csignal>
#include <iterator>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "launch/verdict.h"

namespace trident {
namespace {

using testing::HasSubstr;

constexpr MeshShape kMeshes[] = {{1, 1, 1}, {2, 1, 2}, {2, 2, 3}, {1, 2, 4}, {4, 1, 1}, {3, 2, 1}};

class Dice {
 public:
  explicit Dice(unsigned seed) : generator_(seed) {}
  int below(int count) { return std::uniform_int_distribution<int>(0, count - 1)(generator_); }
  bool one_in(int count) { return below(count) == 0; }

 private:
  std::mt19937 generator_;
};

GroupRecord collective(Dice& dice, const std::string& name) {
  GroupRecord group;
  group.group = name;
  group.op = dice.one_in(5) ? CollectiveOp::broadcast : CollectiveOp::all_reduce;
  group.entered = 2 + static_cast<uint64_t>(dice.below(3));
  group.left = group.entered - static_cast<uint64_t>(dice.below(2));
  group.bytes = 8;
  return group;
}

GroupRecord message(Dice& dice, int peers) {
  GroupRecord group = collective(dice, "pp");
  group.peer = dice.below(peers);
  group.op = dice.one_in(2) ? CollectiveOp::send : CollectiveOp::recv;
  return group;
}

RankState random_rank(Dice& dice, int number, int stages) {
  RankState rank;
  rank.rank = number;
  rank.pid = dice.one_in(40) ? 0 : 100 + number;
  rank.host = "node";
  rank.record.state = RankRecord::State::running;
  rank.record.phase = dice.one_in(3) ? TrainPhase::exchange : TrainPhase::forward_backward;
  rank.record.step = 7 + dice.below(2);
  for (const char* name : {"world", "dp", "tp", "pp", "tp replicas", "tied", "injected"}) {
    if (!dice.one_in(3)) rank.record.groups.push_back(collective(dice, name));
  }
  for (int i = dice.below(3); i > 0; --i) rank.record.groups.push_back(message(dice, stages));
  if (!rank.record.groups.empty() && !dice.one_in(4))
    rank.record.waits_in = static_cast<size_t>(dice.below(static_cast<int>(rank.record.groups.size())));
  rank.limit_s = 3;
  rank.idle_s = dice.one_in(6) ? 1 : 4;
  if (dice.one_in(20)) rank.record.state = RankRecord::State::finished;
  return rank;
}

// Half of all gangs have nobody that works, so that cycles come up.
GangState random_gang(unsigned seed) {
  Dice dice(seed);
  GangState gang;
  gang.mesh = kMeshes[dice.below(std::size(kMeshes))];
  const bool standing = dice.one_in(2);
  for (int i = 0; i < gang.mesh.ranks(); ++i) {
    gang.ranks.push_back(random_rank(dice, i, gang.mesh.pp));
    RankState& rank = gang.ranks.back();
    if (!standing) continue;
    rank.idle_s = 4;
    if (!rank.record.groups.empty() && !rank.record.waits_in) rank.record.waits_in = 0;
  }
  return gang;
}

// ---- the rules, as slow as they are plain

const GroupRecord* record_of(const GangState& gang, int rank, const GroupRecord& like, int peer, CollectiveOp op) {
  for (const GroupRecord& group : gang.ranks[static_cast<size_t>(rank)].record.groups) {
    const bool same_way = peer < 0 || group.op == op;
    if (group.group == like.group && group.peer == peer && same_way) return &group;
  }
  return nullptr;
}

struct Lateness {
  bool has_group, has_begun, neglects;
};

Lateness lateness(const GangState& gang, int rank, const GroupRecord& in, int peer, CollectiveOp op) {
  const GroupRecord* own = record_of(gang, rank, in, peer, op);
  const bool begun = own != nullptr && own->entered > in.left;
  const RankRecord& record = gang.ranks[static_cast<size_t>(rank)].record;
  const bool in_it = own != nullptr && record.waits_in && &record.groups[*record.waits_in] == own;
  const bool moves_it = in_it || (record.waits_in && record.state != RankRecord::State::finished);
  return {own != nullptr, begun, begun && own->left <= in.left && !moves_it};
}

std::vector<int> plain_targets(const GangState& gang, int rank) {
  const RankRecord& record = gang.ranks[static_cast<size_t>(rank)].record;
  if (!record.waits_in) return {};
  const GroupRecord& in = record.groups[*record.waits_in];
  const auto members = group_members(gang, rank, in.group);
  if (in.peer >= std::ssize(members)) return {};
  if (in.peer >= 0) {
    const auto own = std::find(members.begin(), members.end(), rank) - members.begin();
    const int other = members[static_cast<size_t>(in.peer)];
    const auto opposite = in.op == CollectiveOp::send ? CollectiveOp::recv : CollectiveOp::send;
    const Lateness seen = lateness(gang, other, in, static_cast<int>(own), opposite);
    return !seen.has_begun || seen.neglects ? std::vector<int>{other} : std::vector<int>{};
  }
  std::vector<int> behind, neglectful;
  for (const int member : members) {
    const Lateness seen = lateness(gang, member, in, -1, in.op);
    if (member == rank || (in.group == "tp replicas" && !seen.has_group)) continue;
    if (!seen.has_begun) behind.push_back(member);
    if (seen.neglects) neglectful.push_back(member);
  }
  return behind.empty() ? neglectful : behind;
}

bool contains(const std::vector<int>& all, int value) { return std::find(all.begin(), all.end(), value) != all.end(); }

// Nobody is dead in these gangs: who is named, -1 where nobody is.
int plain_culprit(const GangState& gang) {
  const auto size = gang.ranks.size();
  std::vector<std::vector<int>> targets;
  for (size_t i = 0; i < size; ++i) targets.push_back(plain_targets(gang, static_cast<int>(i)));
  std::vector<size_t> waiters(size);
  for (const auto& each : targets) {
    for (const int target : each) ++waiters[static_cast<size_t>(target)];
  }
  const RankState *root = nullptr, *ahead = nullptr;
  bool any_root = false, all_late = true;
  const auto where = [](const RankState& rank) {
    return std::tuple(rank.record.state == RankRecord::State::finished, rank.record.step, rank.record.phase);
  };
  const auto furthest = [&](const RankState& rank) {
    return std::tuple(rank.record.step, rank.record.phase, waiters[static_cast<size_t>(rank.rank)]);
  };
  for (const RankState& rank : gang.ranks) {
    const auto i = static_cast<size_t>(rank.rank);
    const bool late = rank.idle_s >= rank.limit_s, done = rank.record.state == RankRecord::State::finished;
    all_late = all_late && late;
    if (waiters[i] > 0 && (ahead == nullptr || furthest(rank) > furthest(*ahead))) ahead = &rank;
    if (rank.pid == 0 || (done ? waiters[i] == 0 : !targets[i].empty())) continue;
    any_root = true;
    if (late && (root == nullptr || where(rank) < where(*root))) root = &rank;
  }
  if (root != nullptr) return root->rank;
  if (any_root || !all_late) return -1;
  return ahead == nullptr ? 0 : ahead->rank;
}

TEST(WaitGraph, FollowsThePlainRulesOnRandomGangs) {
  int named = 0;
  for (unsigned seed = 0; seed < 20'000 && !HasFailure(); ++seed) {
    const GangState gang = random_gang(seed);
    const WaitGraph graph(gang);
    const auto counts = graph.waiter_counts();
    std::vector<size_t> expected(gang.ranks.size());
    for (const RankState& rank : gang.ranks) {
      const auto targets = plain_targets(gang, rank.rank);
      EXPECT_EQ(graph.waits(rank.rank), !targets.empty()) << "seed " << seed << ", rank " << rank.rank;
      for (const RankState& other : gang.ranks) {
        EXPECT_EQ(graph.waits_for(rank.rank, other.rank), contains(targets, other.rank))
            << "seed " << seed << ", ranks " << rank.rank << " and " << other.rank;
        if (contains(targets, other.rank)) ++expected[static_cast<size_t>(other.rank)];
      }
    }
    EXPECT_EQ(counts, expected) << "seed " << seed;
    const auto verdict = find_verdict(gang);
    const bool all_done = std::all_of(gang.ranks.begin(), gang.ranks.end(), [](const RankState& rank) {
      return rank.ended && rank.record.state == RankRecord::State::finished;
    });
    if (all_done) continue;
    EXPECT_EQ(verdict ? verdict->rank : -1, plain_culprit(gang)) << "seed " << seed;
    named += verdict ? 1 : 0;
  }
  EXPECT_GT(named, 1000);
}

// A gang in which one rank stands still, another computes something else, or has died.
GangState hurt(MeshShape mesh, int culprit, FaultCause cause) {
  GangState gang;
  gang.mesh = mesh;
  const bool skips = cause == FaultCause::skipped_collective, differs = cause == FaultCause::mismatched_collectives;
  for (int i = 0; i < mesh.ranks(); ++i) {
    RankState rank;
    rank.rank = i;
    rank.pid = 100 + i;
    rank.host = "node";
    rank.limit_s = 3;
    rank.idle_s = 4;
    rank.record.state = RankRecord::State::running;
    rank.record.step = 7;
    const bool own = i == culprit;
    rank.record.groups.push_back({"dp", -1, CollectiveOp::all_reduce, own && skips ? 8U : 9U, 8, 64});
    rank.record.groups.push_back({"world", -1, CollectiveOp::barrier, own && skips ? 4U : 3U, 3, 0});
    if (own && skips) rank.record.phase = TrainPhase::exchange;
    if (own && differs) rank.record.groups[0].op = CollectiveOp::broadcast;
    if (own && cause == FaultCause::hang) rank.record.groups[0].entered = 8;
    if (!own || skips) rank.record.waits_in = own ? 1 : 0;
    gang.ranks.push_back(rank);
  }
  const auto neighbours = group_members(gang, culprit, "dp");
  for (RankState& rank : gang.ranks) {
    if (contains(neighbours, rank.rank)) continue;
    // Other groups are done with it and wait in the world.
    rank.record.groups[0].left = 9;
    rank.record.groups[1].entered = 4;
    rank.record.waits_in = 1;
  }
  RankState& hit = gang.ranks[static_cast<size_t>(culprit)];
  if (cause == FaultCause::killed) hit.ended = true, hit.wait_status = SIGKILL;
  for (RankState& rank : gang.ranks) {
    if (!differs || !contains(neighbours, rank.rank)) continue;
    rank.record.state = RankRecord::State::failed;
    rank.record.exit_code = 70;
  }
  return gang;
}

TEST(WaitGraph, ManyRanksHaveTheVerdictOfFew) {
  for (const auto cause :
       {FaultCause::killed, FaultCause::hang, FaultCause::skipped_collective, FaultCause::mismatched_collectives}) {
    for (const MeshShape mesh : {MeshShape{4, 2, 2}, MeshShape{512, 8, 4}}) {
      const int culprit = static_cast<int>(mesh.ranks()) - 3;
      const auto verdict = find_verdict(hurt(mesh, culprit, cause));
      ASSERT_TRUE(verdict) << to_string(cause) << " of " << mesh.to_string();
      EXPECT_EQ(verdict->rank, culprit) << verdict->sentence();
      EXPECT_EQ(to_string(verdict->cause), to_string(cause)) << verdict->sentence();
    }
  }
}

TEST(WaitGraph, OfManyWaitersSomeAreNamed) {
  GangState gang = hurt({40, 1, 1}, 3, FaultCause::hang);
  EXPECT_THAT(find_verdict(gang)->evidence, HasSubstr("ranks 0, 1, 2, 4, 5, 6, 7, 8 and 31 more wait for it in"));
}

TEST(WaitGraph, AGangThatNeverStartsIsNamed) {
  GangState gang;
  gang.mesh = {2, 1, 1};
  gang.ranks.resize(2);
  for (int i = 0; i < 2; ++i) gang.ranks[static_cast<size_t>(i)].rank = i;
  for (RankState& rank : gang.ranks) rank.idle_s = 301, rank.limit_s = 300;
  const auto verdict = find_verdict(gang);
  ASSERT_TRUE(verdict);
  EXPECT_EQ(to_string(verdict->cause), to_string(FaultCause::hang));
}

}  // namespace
}  // namespace trident
