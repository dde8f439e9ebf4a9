#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace trident {

/// Mean, deviation and median of the last `window` finite values.
class RollingStats {
 public:
  explicit RollingStats(std::size_t window = 128) : window_(window) { values_.reserve(window); }

  /// By how many standard deviations `value` leaves the window before it; then takes it into the window.
  /// Empty while fewer than 16 values are known, where they do not vary, or where `value` is not finite.
  std::optional<double> z_score_and_add(double value);

  void add(double value);
  std::optional<double> median() const;

 private:
  std::size_t window_;
  std::size_t next_ = 0;
  std::vector<double> values_;
};

/// How long the rest of a run takes: the median of recent steps, so that one slow step changes nothing, plus what
/// evaluations cost for each step between them.
class RemainingTime {
 public:
  void step(double seconds) { steps_.add(seconds); }
  void evaluation(std::int64_t step, double seconds);
  std::optional<double> seconds(std::int64_t steps_left) const;

 private:
  RollingStats steps_;
  RollingStats evaluations_{8};
  std::int64_t last_evaluation_ = 0;
  double steps_per_evaluation_ = 0;
};

}  // namespace trident
