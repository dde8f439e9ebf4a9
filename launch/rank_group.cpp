#include "launch/rank_group.h"

namespace trident {
namespace {

Axis axis_of(std::string_view name) {
  return name.starts_with("tp") ? Axis::tp : name.starts_with("dp") ? Axis::dp : Axis::pp;
}

int& coordinate(MeshCoordinates& at, Axis axis) { return axis == Axis::tp ? at.tp : axis == Axis::dp ? at.dp : at.pp; }

}  // namespace

RankGroup::RankGroup(const GangState& gang, int rank, std::string_view name)
    : mesh_(gang.mesh), order_(gang.order), axis_(axis_of(name)) {
  const bool tied = name == "tied";
  world_ = !tied && !name.starts_with(to_string(axis_));
  if (world_) {
    size_ = static_cast<int>(gang.ranks.size());
    return;
  }
  size_ = mesh_[axis_];
  ends_ = tied && size_ > 2;
  if (ends_) size_ = 2;  // the tied embedding's
  place_ = mesh_coordinates(mesh_, rank, order_);
  coordinate(place_, axis_) = 0;
}

int RankGroup::at(int index) const {
  if (world_) return index;
  MeshCoordinates member = place_;
  coordinate(member, axis_) = ends_ && index == 1 ? mesh_[axis_] - 1 : index;
  return mesh_rank(mesh_, member, order_);
}

std::optional<int> RankGroup::index_of(int rank) const {
  if (world_) return rank;
  const int on_axis = mesh_coordinates(mesh_, rank, order_)[axis_];
  const int index = ends_ && on_axis == mesh_[axis_] - 1 ? 1 : on_axis;
  return index < size_ && at(index) == rank ? std::optional(index) : std::nullopt;
}

std::vector<int> group_members(const GangState& gang, int rank, std::string_view group) {
  const RankGroup found(gang, rank, group);
  std::vector<int> members;
  members.reserve(static_cast<size_t>(found.size()));
  for (int i = 0; i < found.size(); ++i) members.push_back(found.at(i));
  return members;
}

}  // namespace trident
