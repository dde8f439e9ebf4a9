#include "data/mixture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <queue>
#include <utility>

#include "core/error.h"

namespace trident {
namespace {

constexpr const char* component = "data/mixture";
constexpr size_t max_sources = 4096;
constexpr int64_t max_searched_period = int64_t{1} << 16;
constexpr int64_t max_period = int64_t{1} << 20;

std::vector<double> normalised(std::span<const double> weights) {
  TRIDENT_CHECK(!weights.empty());
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (!(weights[i] > 0) || !std::isfinite(weights[i])) {
      throw Error(ErrorCode::config, component, fmt::format("weight of data set {} is {}", i, weights[i]),
                  "weights are positive numbers; leave a data set out to give it none");
    }
    sum += weights[i];
  }
  if (!std::isfinite(sum))
    throw Error(ErrorCode::config, component, "the weights add up to infinity", "scale them down");
  std::vector<double> result(weights.begin(), weights.end());
  for (double& weight : result) weight /= sum;
  return result;
}

/// The largest error of a weight when shares of `period` are rounded to whole slots; infinite where they do not add up.
double rounding_error(std::span<const double> weights, int64_t period, std::vector<int64_t>& shares) {
  double error = 0;
  int64_t sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double ideal = weights[i] * static_cast<double>(period);
    shares[i] = std::llround(ideal);
    sum += shares[i];
    if (shares[i] == 0) return std::numeric_limits<double>::infinity();
    error = std::max(error, std::abs(ideal - static_cast<double>(shares[i])) / static_cast<double>(period));
  }
  return sum == period ? error : std::numeric_limits<double>::infinity();
}

/// Shares by largest remainder, at least one each.
void rounded_shares(std::span<const double> weights, int64_t period, std::vector<int64_t>& shares) {
  std::vector<std::pair<double, size_t>> remainders;
  int64_t left = period;
  for (size_t i = 0; i < weights.size(); ++i) {
    const double ideal = weights[i] * static_cast<double>(period);
    shares[i] = std::max<int64_t>(1, static_cast<int64_t>(ideal));
    remainders.emplace_back(static_cast<double>(shares[i]) - ideal, i);
    left -= shares[i];
  }
  std::sort(remainders.begin(), remainders.end());
  for (size_t i = 0; left > 0; i = (i + 1) % remainders.size(), --left) ++shares[remainders[i].second];
  // What the forced minimum of one took comes from the largest shares.
  for (; left < 0; ++left) --*std::max_element(shares.begin(), shares.end());
}

/// The first period that keeps every weight to twelve digits, or else the one that keeps them best.
int64_t best_period(std::span<const double> weights, std::vector<int64_t>& shares) {
  int64_t best = max_period;
  double least = 0.5 / static_cast<double>(max_period);
  for (int64_t period = 1; period <= max_searched_period && least > 1e-12; ++period) {
    const double error = rounding_error(weights, period, shares);
    if (error < least) {
      least = error;
      best = period;
    }
  }
  if (best == max_period) {
    rounded_shares(weights, best, shares);
  } else {
    rounding_error(weights, best, shares);
  }
  return best;
}

}  // namespace

Mixture::Mixture(std::span<const double> weights) : shares_(weights.size()) {
  const std::vector<double> normal = normalised(weights);
  if (normal.size() > max_sources) {
    throw Error(ErrorCode::config, component, fmt::format("{} data sets", normal.size()),
                fmt::format("mix at most {}; join small ones into one", max_sources));
  }
  period_ = best_period(normal, shares_);
  lay_out();
}

void Mixture::lay_out() {
  // Sample j of a source with share a may come from slot floor(j·W/a) on and must come before slot ceil((j+1)·W/a).
  using Timed = std::pair<int64_t, int32_t>;  // slot, source
  using Earliest = std::priority_queue<Timed, std::vector<Timed>, std::greater<>>;
  Earliest waiting;  // by release
  Earliest ready;    // by deadline
  std::vector<int32_t> given(shares_.size(), 0);
  for (size_t source = 0; source < shares_.size(); ++source) waiting.emplace(0, static_cast<int32_t>(source));
  slots_.reserve(static_cast<size_t>(period_));
  for (int64_t slot = 0; slot < period_; ++slot) {
    while (!waiting.empty() && waiting.top().first <= slot) {
      const int32_t source = waiting.top().second;
      waiting.pop();
      const int64_t share = shares_[static_cast<size_t>(source)];
      ready.emplace(((given[static_cast<size_t>(source)] + 1) * period_ + share - 1) / share, source);
    }
    TRIDENT_CHECK(!ready.empty() && ready.top().first > slot);
    const int32_t source = ready.top().second;
    ready.pop();
    int32_t& rank = given[static_cast<size_t>(source)];
    slots_.push_back({source, rank++});
    const int64_t share = shares_[static_cast<size_t>(source)];
    if (rank < share) waiting.emplace(std::max(slot + 1, rank * period_ / share), source);
  }
}

Mixture::Pick Mixture::at(int64_t sample) const {
  TRIDENT_CHECK(sample >= 0);
  const Slot slot = slots_[static_cast<size_t>(sample % period_)];
  const int64_t periods = sample / period_;
  return {slot.source, periods * shares_[static_cast<size_t>(slot.source)] + slot.rank};
}

}  // namespace trident
