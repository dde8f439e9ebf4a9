#pragma once

#include <cstddef>
#include <string>

#include "parallel/pipeline/schedule.h"
#include "parallel/pipeline/simulate.h"

namespace trident::pipeline {

/// An SVG timeline draws at most this many actions and transfers.
inline constexpr size_t kMaxDrawn = 200'000;

/// What an SVG timeline of this would draw.
[[nodiscard]] size_t drawn(const Simulation& simulation);

/// A drawing for a browser or a page, complete in one file, light or dark as its reader's: a row per rank, time to the
/// right, transfers as lines below. Not for more than kMaxDrawn.
[[nodiscard]] std::string to_svg(const Schedule& schedule, const Simulation& simulation);

/// Chrome's trace format, which Perfetto opens: a process per rank, with a thread that computes, one that sends and one
/// that receives. One unit of cost becomes `microseconds`.
[[nodiscard]] std::string to_chrome_trace(const Schedule& schedule, const Simulation& simulation,
                                          double microseconds = 1000);

}  // namespace trident::pipeline
