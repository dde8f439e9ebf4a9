#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/layout.h"
#include "parallel/comm/communicator.h"

namespace trident {

/// Ranks along each axis of the mesh.
struct MeshShape {
  int dp = 1;
  int tp = 1;
  int pp = 1;

  [[nodiscard]] int operator[](Axis axis) const { return axis == Axis::dp ? dp : axis == Axis::tp ? tp : pp; }
  [[nodiscard]] int64_t ranks() const { return int64_t{dp} * tp * pp; }
  /// `dp=2 tp=4 pp=1`
  [[nodiscard]] std::string to_string() const;
  bool operator==(const MeshShape&) const = default;
};

/// The axes from the one along which neighbouring ranks differ to the slowest.
using MeshOrder = std::array<Axis, kAxes>;

/// tp talks in every layer and must stay within a node; dp reduces every gradient, which a node's shared memory makes
/// nearly free; pp passes one activation per stage and microbatch, and crosses nodes best.
inline constexpr MeshOrder kDefaultMeshOrder = {Axis::tp, Axis::dp, Axis::pp};

[[nodiscard]] std::string_view to_string(Axis axis);

/// Where a rank stands.
struct MeshCoordinates {
  int dp = 0;
  int tp = 0;
  int pp = 0;
  [[nodiscard]] int operator[](Axis axis) const { return axis == Axis::dp ? dp : axis == Axis::tp ? tp : pp; }
  bool operator==(const MeshCoordinates&) const = default;
};

/// Throws Error(config) in the job file's keys, with the nearest legal shape, unless `shape` is one of `world_size`
/// ranks. Needs no communication: called before MPI starts.
void check_mesh(const MeshShape& shape, int world_size);
/// The shape of `world_size` ranks nearest to `wish`: it changes the axes by the smallest factors, dp before pp before
/// tp where two are as near.
[[nodiscard]] MeshShape nearest_mesh(const MeshShape& wish, int world_size);
/// The nearest of those that `legal` takes; nothing where it takes none.
[[nodiscard]] std::optional<MeshShape> nearest_mesh(const MeshShape& wish, int world_size,
                                                    const std::function<bool(const MeshShape&)>& legal);

[[nodiscard]] MeshCoordinates mesh_coordinates(const MeshShape& shape, int rank, const MeshOrder& order);
[[nodiscard]] int mesh_rank(const MeshShape& shape, const MeshCoordinates& at, const MeshOrder& order);

/// The ranks of a job as a grid of named axes, each with a communicator among the ranks that differ in that axis only.
class DeviceMesh {
 public:
  /// Collective over `world`. Throws Error(config) if the shape does not fit.
  DeviceMesh(Communicator world, MeshShape shape, MeshOrder order = kDefaultMeshOrder);
  /// One rank's place in a mesh on paper (Communicator::meta), for dry runs.
  static DeviceMesh meta(MeshShape shape, int rank, MeshOrder order = kDefaultMeshOrder);

  [[nodiscard]] const Communicator& world() const { return world_; }
  [[nodiscard]] const Communicator& axis(Axis axis) const { return axes_[static_cast<size_t>(axis)]; }
  [[nodiscard]] const MeshShape& shape() const { return shape_; }
  [[nodiscard]] const MeshOrder& order() const { return order_; }
  [[nodiscard]] const MeshCoordinates& coordinates() const { return coordinates_; }
  [[nodiscard]] MeshCoordinates coordinates(int rank) const { return mesh_coordinates(shape_, rank, order_); }
  [[nodiscard]] int rank_at(const MeshCoordinates& at) const { return mesh_rank(shape_, at, order_); }

  /// Host of a rank of the world.
  [[nodiscard]] std::string host(int rank) const { return world_.place(rank).host; }
  /// Ranks on each node, by node.
  [[nodiscard]] std::vector<int> ranks_per_node() const;
  /// Some group along this axis has ranks on several nodes.
  [[nodiscard]] bool crosses_nodes(Axis axis) const;

 private:
  DeviceMesh(Communicator world, MeshShape shape, MeshOrder order, std::vector<Communicator> axes);

  Communicator world_;
  MeshShape shape_;
  MeshOrder order_;
  MeshCoordinates coordinates_;
  std::vector<Communicator> axes_;  // by Axis
};

}  // namespace trident
