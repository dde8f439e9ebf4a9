#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "launch/gang_state.h"

namespace trident {

/// Who is in a rank's group of this name, by the mesh; of a group that is no axis of it, the axis that it is part of.
/// Costs nothing to make: members are computed.
class RankGroup {
 public:
  RankGroup(const GangState& gang, int rank, std::string_view name);

  [[nodiscard]] int size() const { return size_; }
  [[nodiscard]] int at(int index) const;
  /// Its rank in the group; nothing where it is no member.
  [[nodiscard]] std::optional<int> index_of(int rank) const;
  /// Tells groups of one name apart.
  [[nodiscard]] int first() const { return at(0); }

 private:
  MeshShape mesh_;
  MeshOrder order_;
  Axis axis_ = Axis::pp;
  bool world_ = false;
  bool ends_ = false;  // of the axis, which alone are members
  int size_ = 0;
  MeshCoordinates place_;  // of any member; its coordinate on the axis is 0
};

/// By their rank in the group.
[[nodiscard]] std::vector<int> group_members(const GangState& gang, int rank, std::string_view group);

}  // namespace trident
