#include "train/step_prediction.h"

#include <algorithm>

#include "core/log.h"

namespace trident {

void StepPrediction::measured(double step_s) {
  constexpr size_t kSteps = 10;
  if (predicted_s_ <= 0 || first_steps_.size() == kSteps) return;
  first_steps_.push_back(step_s);
  if (first_steps_.size() < kSteps) return;
  std::vector<double> sorted = first_steps_;
  std::nth_element(sorted.begin(), sorted.begin() + kSteps / 2, sorted.end());
  const double median = sorted[kSteps / 2];
  log::info("step of {:.4g} s, median of the first {}; predicted {:.4g} s ({:+.1f} %)", median, kSteps, predicted_s_,
            100 * (predicted_s_ / median - 1));
}

}  // namespace trident
