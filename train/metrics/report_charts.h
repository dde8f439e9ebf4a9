#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/metrics/metrics_file.h"
#include "train/metrics/svg_chart.h"

namespace trident {

/// Training and validation loss; where there are many steps the raw values are faint under a centred mean.
Chart loss_chart(const MetricsHistory& history);
Chart learning_rate_chart(const MetricsHistory& history);
Chart gradient_norm_chart(const MetricsHistory& history);
Chart throughput_chart(const MetricsHistory& history);
Chart memory_chart(const MetricsHistory& history);
Chart mfu_chart(const MetricsHistory& history);
/// The phases of each step; what they leave of the step's wall time is `other`.
Chart phase_chart(const MetricsHistory& history);

/// A step whose loss or gradient norm left the 128 steps before it by more than four standard deviations upwards, or
/// is not finite (`z` is then infinite).
struct Outlier {
  std::int64_t step = 0;
  std::string quantity;
  double value = 0;
  double z = 0;
};
std::vector<Outlier> find_outliers(const MetricsHistory& history);

/// The mean of the finite values at most `radius` places away, fewer near the ends so that they keep their place.
std::vector<double> centred_mean(const std::vector<double>& values, std::size_t radius);

}  // namespace trident
