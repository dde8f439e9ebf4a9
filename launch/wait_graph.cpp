#include "launch/wait_graph.h"

#include <algorithm>

namespace trident {
namespace {

uint64_t entered(const RankRecord& record, std::string_view name) {
  const GroupRecord* group = find_group(record, name);
  return group == nullptr ? 0 : group->entered;
}

// A rank that has left the training still waits for the others' end, but has let go of all calls that it had begun.
bool moves(const RankRecord& record, const GroupRecord& group) {
  return record.state == RankRecord::State::finished ? waited_in(record) == &group : record.waits_in.has_value();
}

bool neglects(const RankRecord& record, const GroupRecord* group, uint64_t call) {
  return group != nullptr && group->entered >= call && group->left < call && !moves(record, *group);
}

size_t below(const std::vector<uint64_t>& sorted, uint64_t value) {
  return static_cast<size_t>(std::lower_bound(sorted.begin(), sorted.end(), value) - sorted.begin());
}

size_t up_to(const std::vector<uint64_t>& sorted, uint64_t value) {
  return static_cast<size_t>(std::upper_bound(sorted.begin(), sorted.end(), value) - sorted.begin());
}

}  // namespace

const GroupRecord* find_group(const RankRecord& record, std::string_view name, int peer, CollectiveOp op) {
  for (const GroupRecord& group : record.groups) {
    if (group.group == name && group.peer == peer && (peer < 0 || group.op == op)) return &group;
  }
  return nullptr;
}

const GroupRecord* waited_in(const RankRecord& record) {
  return record.waits_in ? &record.groups[*record.waits_in] : nullptr;
}

WaitGraph::WaitGraph(const GangState& gang) : gang_(gang), waits_(gang.ranks.size()) {
  for (const RankState& rank : gang.ranks) {
    const GroupRecord* in = waited_in(rank.record);
    if (in != nullptr) in->peer < 0 ? add_collective(rank, *in) : add_message(rank, *in);
  }
  for (const RankState& rank : gang.ranks) find_kind(rank);
  for (auto& [key, group] : groups_) {
    std::sort(group.for_late.begin(), group.for_late.end());
    std::sort(group.for_neglectful.begin(), group.for_neglectful.end());
  }
}

void WaitGraph::add_message(const RankState& rank, const GroupRecord& in) {
  const RankGroup members(gang_, rank.rank, in.group);
  if (in.peer >= members.size()) return;
  const int own = members.index_of(rank.rank).value_or(members.size());
  const int peer = members.at(in.peer);
  const auto counterpart = in.op == CollectiveOp::send ? CollectiveOp::recv : CollectiveOp::send;
  const uint64_t call = in.left + 1;
  const RankRecord& other = record_of(peer);
  const GroupRecord* seen = find_group(other, in.group, own, counterpart);
  const bool begun = seen != nullptr && seen->entered >= call;
  if (!begun || neglects(other, seen, call)) wait_of(rank.rank) = {Wait::Kind::peer, call, nullptr, peer};
}

void WaitGraph::add_collective(const RankState& rank, const GroupRecord& in) {
  const RankGroup members(gang_, rank.rank, in.group);
  const std::pair<std::string_view, int> key(in.group, members.first());
  auto found = groups_.find(key);
  if (found == groups_.end()) found = groups_.emplace(key, make_group(in.group, members)).first;
  wait_of(rank.rank) = {Wait::Kind::late, in.left + 1, &found->second, -1};
}

// Of a part of an axis, ranks without the group are no members.
bool WaitGraph::takes_part(const Group& group, int rank) const {
  return group.members.index_of(rank) &&
         (group.name != "tp replicas" || find_group(record_of(rank), group.name) != nullptr);
}

WaitGraph::Group WaitGraph::make_group(std::string_view name, const RankGroup& members) const {
  Group group{name, members, {}, {}, {}, {}, {}};
  for (int i = 0; i < members.size(); ++i) {
    const int member = members.at(i);
    if (!takes_part(group, member)) continue;
    const RankRecord& record = record_of(member);
    const GroupRecord* seen = find_group(record, name);
    group.entered.push_back(seen == nullptr ? 0 : seen->entered);
    if (seen == nullptr || seen->left >= seen->entered || moves(record, *seen)) continue;
    group.neglected_from.push_back(seen->left);
    group.neglected_to.push_back(seen->entered);
  }
  for (Calls* calls : {&group.entered, &group.neglected_from, &group.neglected_to})
    std::sort(calls->begin(), calls->end());
  return group;
}

// Whether others are late, else whether others neglect the call; a rank does not wait for itself.
void WaitGraph::find_kind(const RankState& rank) {
  Wait& wait = wait_of(rank.rank);
  if (wait.group == nullptr) return;
  Group& group = *wait.group;
  const bool late_itself = takes_part(group, rank.rank) && entered(rank.record, group.name) < wait.call;
  if (below(group.entered, wait.call) > (late_itself ? 1U : 0U)) {
    group.for_late.push_back(wait.call);
  } else if (below(group.neglected_from, wait.call) > below(group.neglected_to, wait.call)) {
    wait.kind = Wait::Kind::neglectful;
    group.for_neglectful.push_back(wait.call);
  } else {
    wait = {};
  }
}

bool WaitGraph::waits_for(int rank, int other) const {
  const Wait& wait = wait_of(rank);
  if (wait.kind == Wait::Kind::none) return false;
  if (wait.kind == Wait::Kind::peer) return other == wait.peer;
  if (rank == other || !takes_part(*wait.group, other)) return false;
  const RankRecord& record = record_of(other);
  if (wait.kind == Wait::Kind::late) return entered(record, wait.group->name) < wait.call;
  return neglects(record, find_group(record, wait.group->name), wait.call);
}

std::vector<int> WaitGraph::waiters_for(int rank) const {
  std::vector<int> waiters;
  for (const RankState& each : gang_.ranks) {
    if (waits_for(each.rank, rank)) waiters.push_back(each.rank);
  }
  return waiters;
}

std::vector<size_t> WaitGraph::waiter_counts() const {
  std::vector<size_t> counts(waits_.size());
  for (const Wait& wait : waits_) {
    if (wait.kind == Wait::Kind::peer) ++counts[static_cast<size_t>(wait.peer)];
  }
  for (const auto& [key, group] : groups_) {
    for (int i = 0; i < group.members.size(); ++i) {
      const int member = group.members.at(i);
      if (takes_part(group, member)) counts[static_cast<size_t>(member)] += waiters_in(group, member);
    }
  }
  return counts;
}

size_t WaitGraph::waiters_in(const Group& group, int member) const {
  const RankRecord& record = record_of(member);
  const GroupRecord* seen = find_group(record, group.name);
  const uint64_t begun = seen == nullptr ? 0 : seen->entered;
  size_t count = group.for_late.size() - up_to(group.for_late, begun);
  const Wait& own = wait_of(member);
  if (own.group == &group && own.kind == Wait::Kind::late && own.call > begun) --count;  // itself
  if (seen != nullptr && seen->left < begun && !moves(record, *seen))
    count += up_to(group.for_neglectful, begun) - up_to(group.for_neglectful, seen->left);
  return count;
}

std::vector<int> waits_for(const GangState& gang, int rank) {
  const WaitGraph graph(gang);
  std::vector<int> others;
  for (const RankState& each : gang.ranks) {
    if (graph.waits_for(rank, each.rank)) others.push_back(each.rank);
  }
  return others;
}

}  // namespace trident
