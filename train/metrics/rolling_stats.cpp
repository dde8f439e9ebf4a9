#include "train/metrics/rolling_stats.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace trident {

std::optional<double> RollingStats::z_score_and_add(double value) {
  constexpr std::size_t enough = 16;
  std::optional<double> score;
  if (values_.size() >= enough && std::isfinite(value)) {
    // Summed anew each time: 128 additions cost less than the drift of a running sum.
    const auto count = static_cast<double>(values_.size());
    const double mean = std::accumulate(values_.begin(), values_.end(), 0.0) / count;
    double squares = 0;
    for (const double known : values_) squares += (known - mean) * (known - mean);
    const double deviation = std::sqrt(squares / count);
    if (deviation > 0) score = (value - mean) / deviation;
  }
  add(value);
  return score;
}

void RollingStats::add(double value) {
  if (!std::isfinite(value)) return;
  if (values_.size() < window_) {
    values_.push_back(value);
  } else {
    values_[next_] = value;
    next_ = (next_ + 1) % window_;
  }
}

std::optional<double> RollingStats::median() const {
  if (values_.empty()) return std::nullopt;
  std::vector<double> sorted = values_;
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  return *middle;
}

void RemainingTime::evaluation(std::int64_t step, double seconds) {
  evaluations_.add(seconds);
  if (step > last_evaluation_) steps_per_evaluation_ = static_cast<double>(step - last_evaluation_);
  last_evaluation_ = step;
}

std::optional<double> RemainingTime::seconds(std::int64_t steps_left) const {
  const auto step = steps_.median();
  if (!step) return std::nullopt;
  const double evaluation = steps_per_evaluation_ > 0 ? evaluations_.median().value_or(0) / steps_per_evaluation_ : 0;
  return static_cast<double>(std::max<std::int64_t>(steps_left, 0)) * (*step + evaluation);
}

}  // namespace trident
