#include "parallel/pipeline/stage_cut.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/error.h"

namespace trident::pipeline {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr size_t kMaxLayers = 2048;  // far beyond any model; bounds the time

Error refused(std::string problem, std::string remedy) {
  return {ErrorCode::config, "parallel/pipeline", std::move(problem), std::move(remedy)};
}

void check_costs(const LayerCosts& costs, int32_t stages) {
  const size_t layers = costs.layers.size();
  if (stages < 1 || static_cast<size_t>(stages) > layers)
    throw refused(fmt::format("{} layers cannot be cut into {} stages", layers, stages),
                  fmt::format("use 1 to {} stages (pipeline ranks times virtual stages)", layers));
  if (layers > kMaxLayers)
    throw refused(fmt::format("{} layers are too many to balance, at most {}", layers, kMaxLayers),
                  "give the cut yourself");
  const auto bad = [](double cost) { return !std::isfinite(cost) || cost < 0; };
  if (bad(costs.embedding) || bad(costs.head) || std::any_of(costs.layers.begin(), costs.layers.end(), bad))
    throw refused("a layer's cost is negative or not finite", "costs are times or operations");
}

// Dynamic programming over "the first n layers in k stages".
class Cutter {
 public:
  Cutter(const LayerCosts& costs, int32_t stages)
      : layers_(costs.layers.size()), stages_(static_cast<size_t>(stages)), sum_(layers_ + 1) {
    std::partial_sum(costs.layers.begin(), costs.layers.end(), sum_.begin() + 1);
    for (size_t n = 1; n <= layers_; ++n) sum_[n] += costs.embedding;
    sum_[layers_] += costs.head;
  }

  std::vector<int32_t> cut() const { return most_even(smallest_maximum()); }

 private:
  double cost(size_t begin, size_t end) const { return sum_[end] - sum_[begin]; }

  // The best last stage of n layers in k stages begins where what precedes it first costs as much as it, or one before:
  // the one grows with the place of the cut and the other falls.
  double smallest_maximum() const {
    std::vector<double> best(layers_ + 1, kInfinity), next(layers_ + 1);
    best[0] = 0;
    for (size_t k = 1; k <= stages_; ++k) {
      std::fill(next.begin(), next.end(), kInfinity);
      for (size_t n = k; n <= layers_ - (stages_ - k); ++n) {
        size_t low = k - 1, high = n - 1;
        while (low < high) {
          const size_t middle = (low + high) / 2;
          if (best[middle] >= cost(middle, n))
            high = middle;
          else
            low = middle + 1;
        }
        for (size_t begin = low > k - 1 ? low - 1 : low; begin <= low; ++begin)
          next[n] = std::min(next[n], std::max(best[begin], cost(begin, n)));
      }
      best.swap(next);
    }
    return best[layers_];
  }

  // Among the cuts whose stages all cost at most `limit`, the smallest sum of squares.
  std::vector<int32_t> most_even(double limit) const {
    std::vector<double> best(layers_ + 1, kInfinity), next(layers_ + 1);
    std::vector<uint16_t> last(stages_ * (layers_ + 1));  // the last stage's layers
    best[0] = 0;
    for (size_t k = 1; k <= stages_; ++k) {
      std::fill(next.begin(), next.end(), kInfinity);
      for (size_t n = k; n <= layers_ - (stages_ - k); ++n)
        for (size_t begin = n; begin-- > k - 1 && cost(begin, n) <= limit;) {
          const double squares = best[begin] + cost(begin, n) * cost(begin, n);
          if (squares >= next[n]) continue;
          next[n] = squares;
          last[(k - 1) * (layers_ + 1) + n] = static_cast<uint16_t>(n - begin);
        }
      best.swap(next);
    }
    std::vector<int32_t> cut(stages_);
    for (size_t k = stages_, n = layers_; k > 0; --k) {
      cut[k - 1] = last[(k - 1) * (layers_ + 1) + n];
      n -= static_cast<size_t>(cut[k - 1]);
    }
    return cut;
  }

  size_t layers_, stages_;
  std::vector<double> sum_;  // of the first n layers, with the embedding and, at the end, the head
};

}  // namespace

std::vector<int32_t> cut_stages(const LayerCosts& costs, int32_t stages) {
  check_costs(costs, stages);
  return Cutter(costs, stages).cut();
}

void check_stage_cut(std::span<const int32_t> layers_per_stage, int32_t layers, int32_t stages) {
  const std::string given = fmt::format("layers per stage [{}]", fmt::join(layers_per_stage, ", "));
  const std::string wanted = fmt::format("give {} positive numbers that sum to {}", stages, layers);
  if (layers_per_stage.size() != static_cast<size_t>(std::max(stages, 0)))
    throw refused(fmt::format("{} are {} numbers for {} stages", given, layers_per_stage.size(), stages), wanted);
  if (std::any_of(layers_per_stage.begin(), layers_per_stage.end(), [](int32_t n) { return n < 1; }))
    throw refused(given + " leave a stage without layers", wanted);
  const int64_t sum = std::accumulate(layers_per_stage.begin(), layers_per_stage.end(), int64_t{0});
  if (sum != layers) throw refused(fmt::format("{} sum to {}, the model has {}", given, sum, layers), wanted);
}

std::vector<double> stage_costs(const LayerCosts& costs, std::span<const int32_t> layers_per_stage) {
  std::vector<double> stages;
  size_t layer = 0;
  for (const int32_t count : layers_per_stage) {
    TRIDENT_CHECK(count >= 1 && layer + static_cast<size_t>(count) <= costs.layers.size(), "a cut of other layers");
    const auto first = costs.layers.begin() + static_cast<std::ptrdiff_t>(layer);
    stages.push_back(std::accumulate(first, first + count, 0.0));
    layer += static_cast<size_t>(count);
  }
  if (!stages.empty()) {
    stages.front() += costs.embedding;
    stages.back() += costs.head;
  }
  return stages;
}

}  // namespace trident::pipeline
