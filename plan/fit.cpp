#include "plan/fit.h"

#include <cmath>
#include <limits>
#include <vector>

#include "plan/predict.h"

namespace trident::plan {
namespace {

std::vector<double> ratios(double first, double last, double factor) {
  std::vector<double> all;
  for (double value = first; value <= last * 1.0001; value *= factor) all.push_back(std::round(value * 1000) / 1000);
  return all;
}

double squared_error(const ClusterSpec& cluster, std::span<const MeasuredStep> steps) {
  double sum = 0;
  for (const MeasuredStep& step : steps)
    sum += std::pow(predict(step.workload, step.layout, cluster).step_s / step.step_s - 1, 2);
  return sum;
}

}  // namespace

// No kernel gets less than 0.6 of what calibration measures as a CPU's bandwidth; with less a fit would make up for
// what the cache does (docs/measurements/planner.md, Choices).
FittedConstants fit_constants(ClusterSpec cluster, std::span<const MeasuredStep> steps) {
  FittedConstants best;
  double least = std::numeric_limits<double>::infinity();
  for (const double matmul : ratios(0.3, cluster.shared ? 1.5 : 1, 1.03))
    for (const double memory : ratios(cluster.shared ? 0.6 : 0.3, cluster.shared ? 2 : 0.95, 1.1))
      for (const double attention : ratios(0.1, 1, 1.1)) {
        cluster.fitted = {matmul, memory, attention};
        const double error = squared_error(cluster, steps);
        if (error < least) least = error, best = cluster.fitted;
      }
  return best;
}

}  // namespace trident::plan
