#pragma once

#include <string>
#include <vector>

namespace trident {

/// Where on a command line something is wrong.
struct UsagePlace {
  std::string command;               ///< as far as it is right: "trident checkpoint"
  std::vector<std::string> verbs;    ///< that may follow
  std::vector<std::string> options;  ///< that it takes, with dashes
  std::vector<std::string> words;    ///< that follow
};

/// One or two lines: what is wrong, by `problem` where nothing better is known, the nearest legal word, where help is.
[[nodiscard]] std::string usage_problem(const UsagePlace& place, const std::string& problem);

}  // namespace trident
