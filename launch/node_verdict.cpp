#include "launch/node_verdict.h"

#include <algorithm>

#include "core/error.h"

namespace trident {

int64_t furthest_step(const std::vector<RankState>& ranks) {
  int64_t step = 0;
  for (const RankState& rank : ranks) step = std::max(step, rank.record.step);
  return step;
}

Verdict of_lost_nodes(const LostNodes& lost, const GangState& gang) {
  Verdict verdict;
  verdict.cause = FaultCause::node_lost;
  verdict.host = lost.host;
  verdict.step = furthest_step(gang.ranks);
  verdict.what = lost.what;
  verdict.evidence = lost.evidence;
  verdict.advice = "it is taken in again when its agent can be heard for a while";
  if (lost.majority) return verdict;
  verdict.exit_code = static_cast<int>(ErrorCode::peer_lost);
  verdict.advice =
      "fewer than half of the nodes are left on this side: its ranks are ended, since the others may have "
      "gone on without it; start the same command again once the nodes see one another";
  return verdict;
}

std::optional<Verdict> find_lost_daemon(const GangState& gang) {
  if (gang.launcher_killed || gang.ranks.empty()) return std::nullopt;
  // On the first node it is mpirun itself.
  const std::string& own = gang.ranks.front().host;
  const auto orphan = [&](const RankState& rank) {
    return rank.daemon_gone && (rank.lost || !rank.ended) && rank.host != own;
  };
  const auto first = std::find_if(gang.ranks.begin(), gang.ranks.end(), orphan);
  if (first == gang.ranks.end()) return std::nullopt;
  Verdict verdict;
  verdict.cause = FaultCause::launcher_lost;
  verdict.host = first->host;
  verdict.step = furthest_step(gang.ranks);
  verdict.what = "mpirun's daemon on " + first->host + " died";
  verdict.evidence = "its ranks go with it";
  verdict.advice = "somebody killed it: journalctl -k on that host may say who";
  return verdict;
}

}  // namespace trident
