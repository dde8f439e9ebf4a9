#include "launch/layout_choice.h"

#include <algorithm>

namespace trident {

std::optional<MeshShape> choose_layout(const MeshShape& wish, const LayoutLimits& limits,
                                       const std::function<bool(const MeshShape&)>& legal) {
  std::optional<MeshShape> best;
  for (int pp = wish.pp; pp >= 1; --pp) {
    const int widest = std::min(wish.dp, limits.ranks / (wish.tp * pp));
    for (int dp = widest; dp >= 1; --dp) {
      const MeshShape shape{dp, wish.tp, pp};
      if (shape.ranks() < limits.min_ranks || (best && shape.ranks() <= best->ranks())) break;
      if (!legal(shape)) continue;
      best = shape;
      break;
    }
  }
  return best;
}

}  // namespace trident
