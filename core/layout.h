#pragma once

#include <array>
#include <cstdint>

#include "core/shape.h"

namespace trident {

/// The axes of the device mesh.
enum class Axis { dp, tp, pp };
inline constexpr int kAxes = 3;

/// How a tensor lies on one mesh axis.
struct Placement {
  enum class Kind {
    replicate,  ///< every rank of the axis holds the whole
    shard,      ///< each holds an equal part of dimension `dim`
    partial,    ///< each holds a term of a sum
  };
  Kind kind = Kind::replicate;
  int dim = 0;

  static Placement replicate() { return {}; }
  static Placement shard(int dim) { return {Kind::shard, dim}; }
  static Placement partial() { return {Kind::partial, 0}; }
  bool operator==(const Placement&) const = default;
};

/// How a logical tensor lies on the mesh: one placement per axis.
class Layout {
 public:
  Layout() = default;
  /// Sharded along `dim` over the tensor-parallel axis, replicated over the others.
  static Layout tensor_parallel(int dim) {
    Layout layout;
    layout.placements_[static_cast<size_t>(Axis::tp)] = Placement::shard(dim);
    return layout;
  }

  [[nodiscard]] Placement operator[](Axis axis) const { return placements_[static_cast<size_t>(axis)]; }
  bool operator==(const Layout&) const = default;

 private:
  std::array<Placement, kAxes> placements_{};
};

}  // namespace trident
