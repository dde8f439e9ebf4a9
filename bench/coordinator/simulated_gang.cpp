#include "bench/coordinator/simulated_gang.h"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <utility>

namespace trident {
namespace {

constexpr double kBeatsPerStep = 45;

GroupRecord group(const char* name, int peer, CollectiveOp op, uint64_t calls) {
  return {name, peer, op, calls, calls, 1 << 20};
}

std::vector<GroupRecord> groups_of(const MeshShape& mesh, uint64_t steps) {
  std::vector<GroupRecord> groups{group("world", -1, CollectiveOp::all_reduce, 4 * steps),
                                  group("dp", -1, CollectiveOp::reduce_scatter, 2 * steps),
                                  group("tp", -1, CollectiveOp::all_gather, 64 * steps),
                                  group("tp replicas", -1, CollectiveOp::all_reduce, 2 * steps),
                                  group("tied", -1, CollectiveOp::all_reduce, steps)};
  for (const int peer : {0, mesh.pp - 1}) {
    for (const auto op : {CollectiveOp::send, CollectiveOp::recv}) groups.push_back(group("pp", peer, op, 16 * steps));
  }
  return groups;
}

}  // namespace

MeshShape SimulatedGang::mesh() const {
  MeshShape mesh;
  mesh.tp = mesh.pp = ranks >= 1024 ? kRanksPerNode : 2;
  mesh.dp = ranks / (mesh.tp * mesh.pp);
  return mesh;
}

RankState SimulatedGang::rank(int number, double seconds, double since_fault) const {
  const double trained = seconds - std::max(0.0, since_fault);
  const auto steps = static_cast<int64_t>(trained);
  RankState state;
  state.rank = number;
  state.pid = 1000 + number;
  state.idle_s = 0.02;
  RankRecord& record = state.record;
  record.state = RankRecord::State::running;
  record.rank = number;
  record.pid = state.pid;
  record.beats = 1 + static_cast<uint64_t>(kBeatsPerStep * trained);
  record.phase = TrainPhase::forward_backward;
  record.step = steps + 1;
  record.action = pipeline::Action{1, pipeline::Op::forward, 3};
  record.resumed = 0;
  record.done = record.committed = steps;
  record.busy_seconds = steps == 0 ? 0 : 0.9 + 0.001 * (number % 7);
  record.groups = groups_of(mesh(), static_cast<uint64_t>(steps) + 1);
  for (auto& phase : record.phases) {
    for (size_t bucket = 50; bucket < 55; ++bucket) phase.counts[bucket] = static_cast<uint32_t>(steps);
  }
  if (since_fault >= 0) hurt(state, since_fault);
  return state;
}

// All are then at the same collective of all: it is begun by all but the one that died or hangs, or as another by one.
void SimulatedGang::hurt(RankState& rank, double since_fault) const {
  const bool own = rank.rank == culprit();
  GroupRecord& world = rank.record.groups.front();
  rank.idle_s = since_fault;
  if (!own || fault == SimulatedFault::mismatched) {
    ++world.entered;
    rank.record.waits_in = 0;
  }
  if (fault == SimulatedFault::dead && own) {
    rank.ended = true;
    rank.wait_status = SIGKILL;
    rank.end_order = 1;
  }
  if (fault != SimulatedFault::mismatched) return;
  if (own) world.op = CollectiveOp::broadcast;
  rank.record.state = RankRecord::State::failed;
  rank.record.exit_code = 70;
  rank.record.message = "other ranks make another call";
  rank.ended = true;
  rank.wait_status = 70 << 8;
  rank.end_order = 1 + rank.rank % kRanksPerNode;
}

}  // namespace trident
