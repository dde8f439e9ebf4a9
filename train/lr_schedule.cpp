#include "train/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace trident {
namespace {

constexpr double kWsdDecayFraction = 0.2;

double remaining_linear(double progress) { return 1.0 - progress; }
double remaining_cosine(double progress) { return 0.5 * (1.0 + std::cos(std::numbers::pi * progress)); }
double remaining_wsd(double progress) { return std::min(1.0, (1.0 - progress) / kWsdDecayFraction); }

}  // namespace

double LrSchedule::at(int64_t step) const {
  if (step < warmup_steps) return lr * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  if (decay == LrDecay::constant) return lr;
  const auto length = static_cast<double>(std::max<int64_t>(1, steps - warmup_steps));
  const double progress = std::min(1.0, static_cast<double>(step - warmup_steps) / length);
  const double remaining = decay == LrDecay::linear   ? remaining_linear(progress)
                           : decay == LrDecay::cosine ? remaining_cosine(progress)
                                                      : remaining_wsd(progress);
  return min_lr + (lr - min_lr) * remaining;
}

}  // namespace trident
