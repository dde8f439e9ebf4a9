#include "launch/straggler.h"

#include <algorithm>
#include <cmath>

namespace trident {
namespace {

std::optional<double> median_of_others(const GangState& gang, int rank, std::string_view axis) {
  std::vector<double> busy;
  for (const int member : group_members(gang, rank, axis)) {
    const RankRecord& record = gang.ranks[static_cast<size_t>(member)].record;
    if (member != rank && record.busy_seconds > 0) busy.push_back(record.busy_seconds);
  }
  if (busy.empty()) return std::nullopt;
  const auto middle = busy.begin() + static_cast<ptrdiff_t>(busy.size() / 2);
  std::nth_element(busy.begin(), middle, busy.end());
  return *middle;
}

}  // namespace

std::optional<double> StragglerWatch::ratio_of(const GangState& gang, int rank) {
  auto peers = median_of_others(gang, rank, "dp");
  if (!peers) peers = median_of_others(gang, rank, "tp");
  if (!peers) return std::nullopt;
  const double busy = gang.ranks[static_cast<size_t>(rank)].record.busy_seconds;
  return std::abs(busy - *peers) < kLeastSeconds ? 1.0 : busy / *peers;
}

std::vector<Straggler> StragglerWatch::look(const GangState& gang) {
  std::vector<Straggler> found;
  for (const RankState& state : gang.ranks) {
    Rank& rank = ranks_[static_cast<size_t>(state.rank)];
    if (state.record.done <= rank.step || state.record.busy_seconds <= 0) continue;
    rank.step = state.record.done;
    const auto ratio = ratio_of(gang, state.rank);
    if (!ratio) continue;
    rank.ratios.push_back(*ratio);
    if (rank.ratios.size() > kSteps) rank.ratios.pop_front();
    const auto counted = [&](auto is) {
      return static_cast<size_t>(std::count_if(rank.ratios.begin(), rank.ratios.end(), is));
    };
    const bool turns = rank.slow ? counted([](double r) { return r < kFine; }) >= kMost
                                 : counted([](double r) { return r > kSlow; }) >= kMost;
    if (!turns) continue;
    rank.slow = !rank.slow;
    found.push_back({state.rank, *ratio, state.record.busy_seconds, !rank.slow});
  }
  return found;
}

}  // namespace trident
