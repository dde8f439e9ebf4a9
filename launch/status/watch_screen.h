#pragma once

#include <string>
#include <string_view>

#include "train/metrics/step_line.h"

namespace trident {

/// A terminal's worth of a run's state, as `/api/state` gives it: lines, each ended by a newline and within
/// `style.columns` (0: no limit) and `rows` (0: no limit). Keys that lack show as n/a; control characters of what a
/// run says are made harmless. Throws Error(bad_data) where `state` is no JSON object.
/// The last line is `from`: where the state is from.
[[nodiscard]] std::string watch_screen(std::string_view state, const std::string& from, const ConsoleStyle& style,
                                       int rows = 0);

}  // namespace trident
