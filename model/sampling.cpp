#include "model/sampling.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "core/philox.h"

namespace trident {
namespace {

void check(std::span<const double> logits, const SamplingOptions& options) {
  const auto refuse = [](const std::string& problem) { throw Error(ErrorCode::usage, "generate", problem); };
  if (!(options.temperature >= 0) || std::isinf(options.temperature))
    refuse(fmt::format("temperature is {}, expected 0 or more", options.temperature));
  if (options.top_k < 0) refuse(fmt::format("top-k is {}, expected 0 (all) or more", options.top_k));
  if (!(options.top_p > 0 && options.top_p <= 1)) refuse(fmt::format("top-p is {}, expected (0, 1]", options.top_p));
  TRIDENT_CHECK(!logits.empty());
  if (std::any_of(logits.begin(), logits.end(), [](double logit) { return std::isnan(logit); }))
    throw Error(ErrorCode::diverged, "generate", "the model's logits are not numbers", "its weights have diverged");
}

// Tokens from the likeliest on, as many as top-k asks for.
std::vector<int32_t> ranked_tokens(std::span<const double> logits, int64_t top_k) {
  std::vector<int32_t> tokens(logits.size());
  std::iota(tokens.begin(), tokens.end(), 0);
  const auto kept = top_k == 0 ? tokens.size() : std::min(tokens.size(), static_cast<size_t>(top_k));
  const auto likelier = [&](int32_t a, int32_t b) {
    const double left = logits[static_cast<size_t>(a)], right = logits[static_cast<size_t>(b)];
    return left != right ? left > right : a < b;
  };
  std::partial_sort(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(kept), tokens.end(), likelier);
  tokens.resize(kept);
  return tokens;
}

}  // namespace

int32_t sample_token(std::span<const double> logits, const SamplingOptions& options, uint64_t position) {
  check(logits, options);
  if (options.temperature == 0)
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  const std::vector<int32_t> tokens = ranked_tokens(logits, options.top_k);
  const double highest = logits[static_cast<size_t>(tokens.front())];
  std::vector<double> cumulative(tokens.size());
  double total = 0.0;
  for (size_t i = 0; i < tokens.size(); ++i)
    cumulative[i] = total += std::exp((logits[static_cast<size_t>(tokens[i])] - highest) / options.temperature);
  // The smallest set of likeliest tokens that reaches top_p.
  const auto reaches = std::lower_bound(cumulative.begin(), cumulative.end(), options.top_p * total);
  const double kept = reaches == cumulative.end() ? total : *reaches;
  const double draw = RandomStream(options.seed, "generate").uniform(position) * kept;
  const auto chosen = std::upper_bound(cumulative.begin(), cumulative.end(), draw);
  const auto index = std::min<std::ptrdiff_t>(chosen - cumulative.begin(), std::ssize(cumulative) - 1);
  return tokens[static_cast<size_t>(index)];
}

}  // namespace trident
