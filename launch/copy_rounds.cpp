#include "launch/copy_rounds.h"

#include <algorithm>
#include <utility>

#include "checkpoint/snapshot_partner.h"

namespace trident {
namespace {

constexpr int64_t kMostLead = 16;

}  // namespace

void CopyRounds::begin(int64_t epoch, const MeshShape& mesh, const MeshOrder& order,
                       const std::vector<GangShare>& shares) {
  epoch_ = epoch;
  next_ = -1;
  lead_ = 1;
  told_ = false;
  std::vector<int> node_of;
  std::vector<std::string> hosts;
  for (size_t share = 0; share < shares.size(); ++share) {
    hosts.push_back(shares[share].node->host());
    node_of.insert(node_of.end(), static_cast<size_t>(shares[share].ranks), static_cast<int>(share));
  }
  const bool possible = interval_ > 0 && shares.size() > 1;
  shares_ = possible ? shares : std::vector<GangShare>();
  std::vector<Way> ways;
  if (possible) {
    for (const int partner : snapshot_partners(mesh, order, node_of))
      ways.push_back(
          {static_cast<size_t>(node_of[ways.size()]), static_cast<size_t>(node_of[static_cast<size_t>(partner)])});
  }
  // Where every rank is where it was, so are the copies.
  if (hosts != hosts_ || ways != ways_) base_ = -1;
  hosts_ = std::move(hosts);
  ways_ = std::move(ways);
}

std::optional<std::string> CopyRounds::advance(int64_t newest) {
  if (shares_.empty() || newest < 0) return std::nullopt;
  bool copied = true, missed = false, hopeless = false;
  std::string problem;
  for (const GangShare& share : shares_) {
    const CopyState state = share.node->copied();
    const bool current = state.epoch == epoch_;
    if (current && state.hopeless) hopeless = true;
    if (current && problem.empty() && !state.problem.empty()) problem = share.node->host() + ": " + state.problem;
    copied = copied && current && state.copied == next_;
    missed = missed || (current && state.missed == next_);
  }
  if (hopeless) {
    base_ = -1;
    send_orders(-1);
    shares_.clear();
  } else if (next_ < 0 || copied || missed) {
    choose_next(newest, copied);
  }
  if (problem.empty() || std::exchange(told_, true)) return std::nullopt;
  return problem;
}

// After the first, the one before was copied, or missed.
void CopyRounds::choose_next(int64_t newest, bool copied) {
  if (next_ < 0) {
    if (base_ > newest) base_ = -1;  // training went on from an older state
  } else if (copied) {
    base_ = next_;
  } else {
    lead_ = std::min(2 * lead_, kMostLead);
  }
  send_orders((newest / interval_ + lead_) * interval_);
}

void CopyRounds::send_orders(int64_t next) {
  next_ = next;
  std::vector<CopyOrder> orders(shares_.size(), CopyOrder{epoch_, base_, next_, {}, {}});
  for (size_t rank = 0; rank < ways_.size(); ++rank) {
    const auto [from, to] = ways_[rank];
    const auto number = static_cast<int32_t>(rank);
    // On its own node a copy would be lost with it.
    orders[from].sends.push_back({number, from == to ? CopyAddress{} : shares_[to].node->copies_at()});
    if (from != to) orders[to].receives.push_back(number);
  }
  for (size_t share = 0; share < shares_.size(); ++share) shares_[share].node->copy(orders[share]);
}

}  // namespace trident
