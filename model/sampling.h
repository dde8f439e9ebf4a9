#pragma once

#include <cstdint>
#include <span>

namespace trident {

/// How the next token is drawn from the logits.
struct SamplingOptions {
  double temperature = 1.0;  ///< 0: the likeliest token, always
  int64_t top_k = 0;         ///< only the k likeliest; 0: all
  double top_p = 1.0;  ///< only the likeliest that together have this probability (Holtzman et al., 2020, sec. 3.1)
  uint64_t seed = 0;
};

/// The token drawn for position `position` of the generation: a pure function of its arguments. Equal logits are
/// ordered by token. Throws Error(ErrorCode::usage) for options outside their range, ErrorCode::diverged if a logit is
/// NaN.
[[nodiscard]] int32_t sample_token(std::span<const double> logits, const SamplingOptions& options, uint64_t position);

}  // namespace trident
