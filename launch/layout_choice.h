#pragma once

#include <functional>
#include <optional>

#include "parallel/comm/device_mesh.h"

namespace trident {

struct LayoutLimits {
  int ranks = 0;      ///< that there are
  int min_ranks = 1;  ///< fewer are not worth going on
};

/// The layout for what is left of `wish`: tp as it is, since another would change the sums inside products; then most
/// ranks at work, then most pipeline stages kept, dp the widest that `legal` takes and no wider than wished. Nothing
/// where none has min_ranks.
[[nodiscard]] std::optional<MeshShape> choose_layout(const MeshShape& wish, const LayoutLimits& limits,
                                                     const std::function<bool(const MeshShape&)>& legal);

}  // namespace trident
