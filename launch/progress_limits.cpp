#include "launch/progress_limits.h"

#include <algorithm>

namespace trident {

void ProgressLimits::keep() {
  for (size_t i = 0; i < kTrainPhases; ++i) past_[i].add(present_[i]);
  present_ = {};
}

double ProgressLimits::seconds(TrainPhase phase) const {
  const bool start = phase == TrainPhase::starting || phase == TrainPhase::resuming;
  if (start) return std::max(kStart, fixed_.value_or(0));
  if (fixed_) return *fixed_;
  DurationCounts seen = past_[static_cast<size_t>(phase)];
  seen.add(present_[static_cast<size_t>(phase)]);
  if (seen.total() < kEnough) return kFirstTime;
  return std::max(kLeast, kFactor * seen.quantile(0.99));
}

}  // namespace trident
