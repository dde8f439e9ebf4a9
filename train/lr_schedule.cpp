#include "train/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace trident {
namespace {

// Part of the way from min_lr up to lr, at `done` of `length` steps after the warm-up.
double linear(double done, double length) { return 1.0 - done / length; }
double cosine(double done, double length) { return 0.5 * (1.0 + std::cos(std::numbers::pi * done / length)); }

}  // namespace

double LrSchedule::at(int64_t step) const {
  if (step < warmup_steps) return lr * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  const auto length = static_cast<double>(std::max<int64_t>(1, steps - warmup_steps));
  const double done = std::min(length, static_cast<double>(step - warmup_steps));
  const auto between = [&](double part) { return min_lr + (lr - min_lr) * part; };
  switch (decay) {
    case LrDecay::constant: return lr;
    case LrDecay::linear: return between(linear(done, length));
    case LrDecay::cosine: return between(cosine(done, length));
    case LrDecay::wsd: {
      const int64_t last_fifth = (steps + 4) / 5;
      const double tail = std::min(length, static_cast<double>(last_fifth));
      return between(std::min(1.0, linear(done - (length - tail), tail)));
    }
  }
  return lr;
}

}  // namespace trident
