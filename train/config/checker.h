#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "train/config/job_config.h"
#include "train/config/reading.h"

namespace trident::config {

/// What the checks of a job share: how they report, and how they name the nearest values that would do.
class Checker {
 public:
  Checker(const JobConfig& job, Reading& reading) : job_(job), reading_(reading) {}

 protected:
  using Paths = std::initializer_list<std::string_view>;

  /// Reports at the first given of `paths`, unless one of them has no usable value anyway.
  void error(Paths paths, std::string code, std::string problem, std::string remedy) {
    if (!reading_.usable(paths)) return;
    reading_.diagnostics.add(reading_.place_of(paths), std::move(code), std::move(problem), std::move(remedy));
  }
  void warn(Paths paths, std::string code, std::string problem, std::string remedy) {
    if (!reading_.usable(paths)) return;
    reading_.diagnostics.warn(reading_.place_of(paths), std::move(code), std::move(problem), std::move(remedy));
  }

  const JobConfig& job_;
  Reading& reading_;
};

/// Of 1 … `most`, the numbers nearest to `wanted` that are `legal`, below and above: "2 or 4"; empty where none is.
template <class Legal>
std::string nearest_legal(int64_t wanted, int64_t most, Legal legal) {
  int64_t below = std::min(wanted - 1, most), above = wanted + 1;
  while (below >= 1 && !legal(below)) --below;
  while (above <= most && !legal(above)) ++above;
  if (below >= 1 && above <= most) return fmt::format("{} or {}", below, above);
  if (below >= 1) return std::to_string(below);
  return above <= most ? std::to_string(above) : "";
}

/// Divisors of `number` nearest to `wanted`.
inline std::string nearest_divisors(int64_t number, int64_t wanted) {
  return nearest_legal(wanted, number, [&](int64_t d) { return number % d == 0; });
}

/// Multiples of `unit` up to `most` nearest to `wanted`.
inline std::string nearest_multiples(int64_t unit, int64_t wanted, int64_t most) {
  const int64_t below = std::min(wanted, most) / unit * unit;
  if (below == 0) return unit <= most ? std::to_string(unit) : "";
  return below + unit <= most ? fmt::format("{} or {}", below, below + unit) : std::to_string(below);
}

}  // namespace trident::config
