#pragma once

#include <string>

namespace trident {

/// 812, 10.8k, 34.1M, 1.20T; "n/a" where not finite.
std::string human_count(double value);
/// 42s, 3m05s, 2h10m, 1d2h; "n/a" where not finite.
std::string human_duration(double seconds);
/// 0.85s, 12.3ms, 85µs
std::string human_seconds(double seconds);

}  // namespace trident
