#include "parallel/comm/device_mesh.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "core/error.h"

namespace trident {
namespace {

constexpr Axis kAllAxes[] = {Axis::dp, Axis::tp, Axis::pp};

void set(MeshCoordinates& at, Axis axis, int value) {
  (axis == Axis::dp ? at.dp : axis == Axis::tp ? at.tp : at.pp) = value;
}

double factor(int from, int to) { return std::abs(std::log(static_cast<double>(std::max(from, 1)) / to)); }

void check_order(const MeshOrder& order) {
  for (const Axis axis : kAllAxes) {
    if (std::count(order.begin(), order.end(), axis) == 1) continue;
    throw Error(ErrorCode::config, "parallelism",
                fmt::format("the rank order must name each of dp, tp and pp once; {} is named {} times",
                            to_string(axis), std::count(order.begin(), order.end(), axis)));
  }
}

/// All ranks whose coordinates differ from this one's in `axis` at most have one number.
int group_of(const MeshShape& shape, MeshCoordinates at, Axis axis, const MeshOrder& order) {
  set(at, axis, 0);
  return mesh_rank(shape, at, order);
}

}  // namespace

std::string_view to_string(Axis axis) { return axis == Axis::dp ? "dp" : axis == Axis::tp ? "tp" : "pp"; }

std::string MeshShape::to_string() const { return fmt::format("dp={} tp={} pp={}", dp, tp, pp); }

MeshShape nearest_mesh(const MeshShape& wish, int world_size) {
  return nearest_mesh(wish, world_size, [](const MeshShape&) { return true; }).value_or(MeshShape{});
}

std::optional<MeshShape> nearest_mesh(const MeshShape& wish, int world_size,
                                      const std::function<bool(const MeshShape&)>& legal) {
  std::optional<MeshShape> best;
  auto best_distance = std::tuple(1e300, 1e300, 1e300);
  for (int tp = 1; tp <= world_size; ++tp) {
    if (world_size % tp != 0) continue;
    for (int pp = 1; pp <= world_size / tp; ++pp) {
      if (world_size / tp % pp != 0) continue;
      const MeshShape shape{world_size / tp / pp, tp, pp};
      const double of_tp = factor(wish.tp, tp), of_pp = factor(wish.pp, pp);
      // Rounded, so that equal distances compare equal.
      const double sum = std::round((factor(wish.dp, shape.dp) + of_tp + of_pp) * 1e9);
      const auto distance = std::tuple(sum, of_tp, of_pp);
      if (distance >= best_distance || !legal(shape)) continue;
      best = shape;
      best_distance = distance;
    }
  }
  return best;
}

void check_mesh(const MeshShape& shape, int world_size) {
  if (shape.dp >= 1 && shape.tp >= 1 && shape.pp >= 1 && shape.ranks() == world_size) return;
  throw Error(ErrorCode::config, "parallelism",
              fmt::format("parallelism.dp · tp · pp = {} · {} · {} = {}, but the job has {} rank{}", shape.dp, shape.tp,
                          shape.pp, shape.ranks(), world_size, world_size == 1 ? "" : "s"),
              fmt::format("nearest: {}; or start {} ranks (mpirun -n {})", nearest_mesh(shape, world_size).to_string(),
                          std::max<int64_t>(shape.ranks(), 1), std::max<int64_t>(shape.ranks(), 1)));
}

MeshCoordinates mesh_coordinates(const MeshShape& shape, int rank, const MeshOrder& order) {
  MeshCoordinates at;
  for (const Axis axis : order) {
    set(at, axis, rank % shape[axis]);
    rank /= shape[axis];
  }
  return at;
}

int mesh_rank(const MeshShape& shape, const MeshCoordinates& at, const MeshOrder& order) {
  int rank = 0;
  for (size_t i = order.size(); i-- > 0;) rank = rank * shape[order[i]] + at[order[i]];
  return rank;
}

DeviceMesh::DeviceMesh(Communicator world, MeshShape shape, MeshOrder order, std::vector<Communicator> axes)
    : world_(std::move(world)), shape_(shape), order_(order), axes_(std::move(axes)) {
  check_order(order_);
  check_mesh(shape_, world_.size());
  coordinates_ = mesh_coordinates(shape_, world_.rank(), order_);
}

DeviceMesh DeviceMesh::meta(MeshShape shape, int rank, MeshOrder order) {
  const MeshCoordinates at = mesh_coordinates(shape, rank, order);
  std::vector<Communicator> axes;
  for (const Axis axis : kAllAxes)
    axes.push_back(Communicator::meta(std::string(to_string(axis)), at[axis], shape[axis]));
  return {Communicator::meta("world", rank, static_cast<int>(shape.ranks())), shape, order, std::move(axes)};
}

DeviceMesh::DeviceMesh(Communicator world, MeshShape shape, MeshOrder order)
    : DeviceMesh(std::move(world), shape, order, {}) {
  for (const Axis axis : kAllAxes) {
    axes_.push_back(
        world_.split(group_of(shape_, coordinates_, axis, order_), coordinates_[axis], std::string(to_string(axis))));
  }
}

std::vector<int> DeviceMesh::ranks_per_node() const {
  std::vector<int> counts;
  for (int rank = 0; rank < world_.size(); ++rank) {
    const auto node = static_cast<size_t>(world_.place(rank).node);
    if (node >= counts.size()) counts.resize(node + 1);
    ++counts[node];
  }
  return counts;
}

bool DeviceMesh::crosses_nodes(Axis axis) const {
  for (int rank = 0; rank < world_.size(); ++rank) {
    MeshCoordinates first = coordinates(rank);
    set(first, axis, 0);
    if (world_.place(rank_at(first)).node != world_.place(rank).node) return true;
  }
  return false;
}

}  // namespace trident
