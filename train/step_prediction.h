#pragma once

#include <vector>

namespace trident {

/// Says once how long steps take beside what was predicted.
class StepPrediction {
 public:
  /// 0: nothing was predicted, and nothing is said.
  explicit StepPrediction(double predicted_s) : predicted_s_(predicted_s) {}
  void measured(double step_s);

 private:
  double predicted_s_;
  std::vector<double> first_steps_;  // seconds of up to ten
};

}  // namespace trident
