#pragma once

#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "train/config/diagnostics.h"

namespace trident::config {

/// What is known about a job while it is read, completed and checked, by dotted path.
struct Reading {
  Diagnostics& diagnostics;
  Place start{};                                    ///< where problems without a better place point
  std::map<std::string, Place, std::less<>> given;  ///< keys and sections that file or command line give
  std::set<std::string, std::less<>> failed;        ///< keys without a usable value
  std::map<std::string, std::string, std::less<>> origins;
  std::optional<std::string> preset;
  bool planned = false;  ///< `parallelism: auto`

  [[nodiscard]] bool is_given(std::string_view path) const { return given.contains(path); }

  [[nodiscard]] bool usable(std::initializer_list<std::string_view> paths) const {
    for (const auto path : paths) {
      if (failed.contains(path)) return false;
    }
    return true;
  }

  /// The place of the first of `paths` that is given.
  [[nodiscard]] Place place_of(std::initializer_list<std::string_view> paths) const {
    for (const auto path : paths) {
      if (const auto it = given.find(path); it != given.end()) return it->second;
    }
    return start;
  }
};

}  // namespace trident::config
