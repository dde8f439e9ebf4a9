#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "launch/rank_group.h"

namespace trident {

/// The record of a group's collectives, or of its messages of this direction with a peer; null where there is none.
[[nodiscard]] const GroupRecord* find_group(const RankRecord& record, std::string_view name, int peer = -1,
                                            CollectiveOp op = CollectiveOp::barrier);
/// What the rank stands still in; null where it does not.
[[nodiscard]] const GroupRecord* waited_in(const RankRecord& record);

/// Which ranks stand still for which others: for those of the collective that they are in that have not entered it;
/// where all have, for those that do not move it on; or for the one that has not sent or asked for the message. Calls
/// move only while their ranks wait or begin others. Edges are never listed: one collective of all ranks has as many as
/// there are pairs of them. The gang must live as long.
class WaitGraph {
 public:
  explicit WaitGraph(const GangState& gang);

  /// For anybody.
  [[nodiscard]] bool waits(int rank) const { return wait_of(rank).kind != Wait::Kind::none; }
  [[nodiscard]] bool waits_for(int rank, int other) const;
  [[nodiscard]] std::vector<int> waiters_for(int rank) const;
  /// How many wait for each rank.
  [[nodiscard]] std::vector<size_t> waiter_counts() const;

 private:
  using Calls = std::vector<uint64_t>;  // sorted

  /// Collectives of one group that somebody waits in.
  struct Group {
    std::string_view name;
    RankGroup members;
    Calls entered;         // by each member
    Calls neglected_from;  // of members that have begun calls and do not move them on: the last that is done
    Calls neglected_to;    // and the last that is begun
    Calls for_late;        // that are waited in for members that have not entered them
    Calls for_neglectful;  // that all members have entered
  };
  struct Wait {
    enum class Kind { none, late, neglectful, peer };
    Kind kind = Kind::none;
    uint64_t call = 0;
    Group* group = nullptr;
    int peer = -1;
  };

  void add_message(const RankState& rank, const GroupRecord& in);
  void add_collective(const RankState& rank, const GroupRecord& in);
  [[nodiscard]] Group make_group(std::string_view name, const RankGroup& members) const;
  void find_kind(const RankState& rank);
  [[nodiscard]] size_t waiters_in(const Group& group, int member) const;
  [[nodiscard]] bool takes_part(const Group& group, int rank) const;
  [[nodiscard]] const RankRecord& record_of(int rank) const { return gang_.ranks[static_cast<size_t>(rank)].record; }
  [[nodiscard]] Wait& wait_of(int rank) { return waits_[static_cast<size_t>(rank)]; }
  [[nodiscard]] const Wait& wait_of(int rank) const { return waits_[static_cast<size_t>(rank)]; }

  const GangState& gang_;
  std::vector<Wait> waits_;                                   // by rank
  std::map<std::pair<std::string_view, int>, Group> groups_;  // by name and first member
};

/// The ranks that `rank` stands still for.
[[nodiscard]] std::vector<int> waits_for(const GangState& gang, int rank);

}  // namespace trident
