#include "train/metrics/human_text.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstdint>
#include <utility>

namespace trident {

std::string human_count(double value) {
  if (!std::isfinite(value)) return "n/a";
  constexpr std::array units{std::pair{1e12, "T"}, std::pair{1e9, "B"}, std::pair{1e6, "M"}, std::pair{1e3, "k"}};
  for (const auto& [size, name] : units) {
    // 999.95 of the smaller unit would print as 1000.
    if (std::abs(value) < size * 0.9995) continue;
    const double scaled = value / size;
    if (std::abs(scaled) >= 99.95) return fmt::format("{:.0f}{}", scaled, name);
    return fmt::format("{:.{}f}{}", scaled, std::abs(scaled) < 9.995 ? 2 : 1, name);
  }
  return std::abs(value) >= 9.95 || value == std::floor(value) ? fmt::format("{:.0f}", value)
                                                               : fmt::format("{:.2g}", value);
}

std::string human_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e15) return "n/a";
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole < 60) return fmt::format("{}s", whole);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  if (whole < 86400) return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
  return fmt::format("{}d{}h", whole / 86400, whole % 86400 / 3600);
}

std::string human_seconds(double seconds) {
  if (!std::isfinite(seconds)) return "n/a";
  if (seconds >= 99.95) return human_duration(seconds);
  if (seconds >= 0.9995) return fmt::format("{:.{}f}s", seconds, seconds < 9.995 ? 2 : 1);
  if (seconds >= 0.9995e-3)
    return fmt::format("{:.{}f}ms", seconds * 1e3, seconds < 9.995e-3 ? 2 : seconds < 99.95e-3 ? 1 : 0);
  return seconds == 0 ? std::string("0s") : fmt::format("{:.0f}µs", seconds * 1e6);
}

}  // namespace trident
