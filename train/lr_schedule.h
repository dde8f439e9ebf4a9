#pragma once

#include <cstdint>

namespace trident {

enum class LrDecay {
  constant,
  linear,
  cosine,  ///< Loshchilov and Hutter, "SGDR" (2017), equation 5, one period
  wsd,     ///< warm-up, stable, then linear decay over the last fifth (Hu et al., "MiniCPM", 2024, section 4)
};

/// Learning rate by step, a pure function. Linear warm-up to `lr`, then decay to `min_lr` at the last step.
struct LrSchedule {
  LrDecay decay = LrDecay::cosine;
  double lr = 1e-3;
  double min_lr = 0.0;
  int64_t warmup_steps = 0;
  int64_t steps = 0;  ///< of the whole training, warm-up included

  /// For step `step`, counted from 0.
  [[nodiscard]] double at(int64_t step) const;
};

}  // namespace trident
