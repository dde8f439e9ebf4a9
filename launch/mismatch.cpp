#include "launch/mismatch.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "launch/wait_graph.h"

namespace trident {
namespace {

constexpr int kInternal = static_cast<int>(ErrorCode::internal);

/// Ranks of a group by what they began as one call of it.
using Votes = std::map<std::pair<CollectiveOp, int64_t>, std::vector<int>>;
/// By number of the call that was begun last.
using Calls = std::map<uint64_t, Votes>;

const RankRecord& record_of(const GangState& gang, int rank) { return gang.ranks[static_cast<size_t>(rank)].record; }

Calls calls_of(const GangState& gang, const RankGroup& members, std::string_view name) {
  Calls calls;
  for (int i = 0; i < members.size(); ++i) {
    const GroupRecord* group = find_group(record_of(gang, members.at(i)), name);
    if (group != nullptr) calls[group->entered][{group->op, group->bytes}].push_back(members.at(i));
  }
  return calls;
}

std::optional<Mismatch> odd_one_out(const GangState& gang, const Votes& votes, std::string_view name) {
  if (votes.size() < 2) return std::nullopt;
  const auto progress = [&](const auto& vote) { return record_of(gang, vote.second.front()).progress(); };
  const auto rarer = [&](const auto& a, const auto& b) {
    if (a.second.size() != b.second.size()) return a.second.size() < b.second.size();
    return progress(a) > progress(b);
  };
  const auto fewest = std::min_element(votes.begin(), votes.end(), rarer);
  const auto most = std::max_element(votes.begin(), votes.end(), rarer);
  const int rank = fewest->second.front();
  const GroupRecord& own = *find_group(record_of(gang, rank), name);
  const GroupRecord& others = *find_group(record_of(gang, most->second.front()), name);
  return Mismatch{
      rank, fmt::format("as call #{} of group {} it began {} of {} bytes, others {} of {} bytes", own.entered, name,
                        to_string(own.op), own.bytes, to_string(others.op), others.bytes)};
}

}  // namespace

std::optional<Mismatch> find_mismatch(const GangState& gang) {
  std::map<std::pair<std::string_view, int>, Calls> groups;  // by name and first member
  for (const RankState& rank : gang.ranks) {
    if (rank.error() != kInternal) continue;
    for (const GroupRecord& seen : rank.record.groups) {
      if (seen.peer >= 0 || seen.left == seen.entered) continue;
      const RankGroup members(gang, rank.rank, seen.group);
      const auto [group, made] = groups.try_emplace({seen.group, members.first()});
      if (made) group->second = calls_of(gang, members, seen.group);
      const auto votes = group->second.find(seen.entered);
      if (votes == group->second.end()) continue;
      if (auto odd = odd_one_out(gang, votes->second, seen.group)) return odd;
    }
  }
  return std::nullopt;
}

}  // namespace trident
