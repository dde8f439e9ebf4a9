#include "launch/status/rank_board.h"

#include <chrono>
#include <utility>

#include "launch/straggler.h"

namespace trident {
namespace {

std::string_view state_text(const RankState& rank) {
  if (rank.ended) return "ended";
  if (rank.stopped) return "stopped";
  return rank.record.resumed < 0 ? "starting" : "running";
}

RankStatus status_of(const GangState& gang, const RankState& rank, std::optional<double> ratio) {
  RankStatus status;
  status.rank = rank.rank;
  status.at = mesh_coordinates(gang.mesh, rank.rank, gang.order);
  status.host = rank.host;
  status.pid = rank.pid;
  status.state = state_text(rank);
  status.phase = to_string(rank.record.phase);
  status.step = rank.record.step;
  status.done = rank.record.done;
  status.idle_s = rank.idle_s;
  status.limit_s = rank.limit_s;
  status.busy_s = rank.record.busy_seconds;
  if (status.busy_s > 0) status.ratio = ratio;
  return status;
}

}  // namespace

void RankBoard::publish(const GangState& gang, int64_t epoch) {
  if (std::exchange(epoch_, epoch) != epoch || heat_.ranks() != gang.ranks.size()) heat_ = HeatMap(gang.ranks.size());
  auto status = std::make_shared<GangStatus>();
  status->time = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  status->epoch = epoch;
  status->mesh = gang.mesh;
  const auto ratios = peer_ratios(gang);
  status->ranks.reserve(gang.ranks.size());
  for (const RankState& rank : gang.ranks) {
    status->ranks.push_back(status_of(gang, rank, ratios[static_cast<size_t>(rank.rank)]));
    heat_.add(static_cast<size_t>(rank.rank), rank.record.done, rank.record.busy_seconds);
  }
  status->heat = heat_;
  std::shared_ptr<const GangStatus> old = std::move(status);
  const std::lock_guard lock(mutex_);
  latest_.swap(old);
}

std::shared_ptr<const GangStatus> RankBoard::latest() const {
  const std::lock_guard lock(mutex_);
  return latest_;
}

}  // namespace trident
