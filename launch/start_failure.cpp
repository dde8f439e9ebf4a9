#include "launch/start_failure.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/error.h"
#include "launch/shared_memory_room.h"
#include "train/progress.h"

namespace trident {
namespace {

bool is_starting(const RankState& rank) { return rank.record.phase == TrainPhase::starting; }

// Open MPI 4's words for a rank that did not start or ended: "process rank 2 ..." or "Process name: [[4711,1],2]".
std::optional<int> named_rank(std::string_view words) {
  for (const auto& [before, between] : {std::pair("process rank ", ""), std::pair("Process name: [[", "],")}) {
    size_t at = words.find(before);
    if (at == std::string_view::npos) continue;
    at = words.find(between, at + std::string_view(before).size());
    if (at == std::string_view::npos) continue;
    const std::string_view number = words.substr(at + std::string_view(between).size());
    int rank = -1;
    if (std::from_chars(number.data(), number.data() + number.size(), rank).ec == std::errc()) return rank;
  }
  return std::nullopt;
}

}  // namespace

bool is_mpirun_to_be_heard(const Verdict& verdict, const GangState& gang) {
  if (verdict.cause == FaultCause::launcher_lost) return true;
  return verdict.cause == FaultCause::exit && verdict.rank >= 0 &&
         is_starting(gang.ranks[static_cast<size_t>(verdict.rank)]);
}

void explain_start_failure(Verdict& verdict, const GangState& gang, std::string_view words,
                           const std::optional<std::string>& lack) {
  const auto& ranks = gang.ranks;
  const int named = verdict.cause == FaultCause::launcher_lost ? named_rank(words).value_or(-1) : -1;
  if (named >= 0 && named < std::ssize(ranks) && ranks[static_cast<size_t>(named)].pid == 0) {
    verdict.host = ranks[static_cast<size_t>(named)].host;
    verdict.evidence = fmt::format("rank {} did not start on {}", named, verdict.host);
  }
  const bool none = std::all_of(ranks.begin(), ranks.end(), [](const RankState& rank) { return rank.pid == 0; });
  if (none) {
    verdict.exit_code = static_cast<int>(ErrorCode::peer_lost);
    verdict.advice =
        "no rank has started: its own words are above. More ranks than processors need --mpirun=--oversubscribe; root "
        "needs OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1";
  } else if (verdict.cause == FaultCause::exit) {
    verdict.advice = "Open MPI ended it before it had joined the others: its words, if any, are above";
  }
  if (!lack || !std::any_of(ranks.begin(), ranks.end(), is_starting)) return;
  verdict.evidence = *lack;
  verdict.advice = kMoreSharedMemory;
}

}  // namespace trident
