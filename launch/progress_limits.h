#pragma once

#include <array>
#include <optional>

#include "launch/heartbeat_record.h"

namespace trident {

/// How long a rank may show no progress in each phase: four times what 99 of 100 such phases of this run took, and at
/// least three seconds. What the run has not done yet has an allowance.
class ProgressLimits {
 public:
  static constexpr double kLeast = 3;
  static constexpr double kFactor = 4;
  static constexpr double kFirstTime = 60;
  static constexpr double kStart = 300;  ///< starting and resuming: reads checkpoints, times kernels
  static constexpr uint64_t kEnough = 3;

  /// `fixed`: fault.hang_timeout, where the job gives one.
  explicit ProgressLimits(std::optional<double> fixed = {}) : fixed_(fixed) {}

  /// What the ranks of the present gang counted so far; replaces what update() was told of it before.
  void update(const std::array<DurationCounts, kTrainPhases>& gang) { present_ = gang; }
  /// The gang has ended: its counts stay.
  void keep();
  [[nodiscard]] double seconds(TrainPhase phase) const;

 private:
  std::optional<double> fixed_;
  std::array<DurationCounts, kTrainPhases> past_{};
  std::array<DurationCounts, kTrainPhases> present_{};
};

}  // namespace trident
