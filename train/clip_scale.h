#pragma once

namespace trident {

/// The factor that brings a gradient of norm `norm` to at most `max_norm`; 1 where max_norm is 0 (no clipping).
[[nodiscard]] double clip_scale(double norm, double max_norm);

}  // namespace trident
