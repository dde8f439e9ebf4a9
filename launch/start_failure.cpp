#include "launch/start_failure.h"

#include <algorithm>

#include "core/error.h"
#include "launch/shared_memory_room.h"
#include "train/progress.h"

namespace trident {
namespace {

bool is_starting(const RankState& rank) { return rank.record.phase == TrainPhase::starting; }

}  // namespace

bool is_mpirun_to_be_heard(const Verdict& verdict, const GangState& gang) {
  if (verdict.cause == FaultCause::launcher_lost) return true;
  return verdict.cause == FaultCause::exit && verdict.rank >= 0 &&
         is_starting(gang.ranks[static_cast<size_t>(verdict.rank)]);
}

void explain_start_failure(Verdict& verdict, const GangState& gang, const std::optional<std::string>& lack) {
  const auto& ranks = gang.ranks;
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
