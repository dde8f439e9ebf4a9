#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace trident::log {

enum class Level { debug, info, warning, error };

/// Logs go to stderr as `2026-11-22T19:30:01.123Z I r000 text`; colour only on a terminal and never with NO_COLOR.
/// Results belong on stdout, not here. `rank` < 0 hides the rank field.
void configure(Level minimum, int rank);

/// Also appends every line to `path` (a run's logs/rank_00003.log). Throws Error where it cannot be opened.
void add_file(const std::string& path);

void write(Level level, std::string_view text);

template <class... Args>
void debug(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::debug, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void info(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void warning(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::warning, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void error(fmt::format_string<Args...> format, Args&&... args) {
  write(Level::error, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace trident::log
