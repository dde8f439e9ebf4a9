#include "launch/straggler.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "launch/rank_group.h"

namespace trident {
namespace {

double busy_of(const GangState& gang, int rank) { return gang.ranks[static_cast<size_t>(rank)].record.busy_seconds; }

// Of `sorted` without one that is `own`, where that is among them.
std::optional<double> median_of_others(const std::vector<double>& sorted, double own) {
  const size_t others = sorted.size() - (own > 0 ? 1 : 0);
  if (others == 0) return std::nullopt;
  const size_t middle = others / 2;
  return own > 0 && sorted[middle] >= own ? sorted[middle + 1] : sorted[middle];
}

void add_medians(const GangState& gang, std::string_view axis, std::vector<std::optional<double>>& medians) {
  for (const RankState& first : gang.ranks) {
    const RankGroup group(gang, first.rank, axis);
    if (group.first() != first.rank) continue;
    std::vector<double> busy;
    for (int i = 0; i < group.size(); ++i) {
      if (busy_of(gang, group.at(i)) > 0) busy.push_back(busy_of(gang, group.at(i)));
    }
    std::sort(busy.begin(), busy.end());
    for (int i = 0; i < group.size(); ++i) {
      auto& median = medians[static_cast<size_t>(group.at(i))];
      if (!median) median = median_of_others(busy, busy_of(gang, group.at(i)));
    }
  }
}

}  // namespace

std::vector<std::optional<double>> peer_ratios(const GangState& gang) {
  std::vector<std::optional<double>> ratios(gang.ranks.size());
  for (const std::string_view axis : {"dp", "tp"}) add_medians(gang, axis, ratios);
  for (size_t i = 0; i < ratios.size(); ++i) {
    if (!ratios[i]) continue;
    const double busy = gang.ranks[i].record.busy_seconds, peers = *ratios[i];
    ratios[i] = std::abs(busy - peers) < StragglerWatch::kLeastSeconds ? 1.0 : busy / peers;
  }
  return ratios;
}

std::vector<Straggler> StragglerWatch::look(const GangState& gang) {
  std::vector<Straggler> found;
  const auto has_news = [&](const RankState& state) {
    return state.record.done > ranks_[static_cast<size_t>(state.rank)].step && state.record.busy_seconds > 0;
  };
  if (std::none_of(gang.ranks.begin(), gang.ranks.end(), has_news)) return found;
  const auto ratios = peer_ratios(gang);
  for (const RankState& state : gang.ranks) {
    Rank& rank = ranks_[static_cast<size_t>(state.rank)];
    if (!has_news(state)) continue;
    rank.step = state.record.done;
    const auto ratio = ratios[static_cast<size_t>(state.rank)];
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
