#include "launch/usage_problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string_view>
#include <utility>
#include <vector>

namespace trident {
namespace {

size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

// The nearest of `words`, if it is near at all: two letters swapped cost two.
std::string nearest(std::string_view word, const std::vector<std::string>& words) {
  std::string best;
  size_t least = std::max<size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : words) {
    const size_t distance = edit_distance(word, candidate);
    if (distance >= least) continue;
    least = distance;
    best = candidate;
  }
  return best;
}

}  // namespace

std::string usage_problem(const UsagePlace& place, const std::string& problem) {
  const auto hint = [&](const std::string& what, const std::string& suggestion) {
    return fmt::format("{}: {}{}\nhelp: {} --help\n", place.command, what,
                       suggestion.empty() ? "" : fmt::format("; did you mean {}?", suggestion), place.command);
  };
  if (!place.verbs.empty()) {
    if (place.words.empty()) return hint(fmt::format("a verb is missing: {}", fmt::join(place.verbs, ", ")), "");
    const std::string& word = place.words.front();
    if (!word.starts_with('-')) return hint(fmt::format("unknown verb {}", word), nearest(word, place.verbs));
  }
  for (const std::string& word : place.words) {
    const std::string name = word.substr(0, word.find('='));
    if (!name.starts_with("--") || name == "--") continue;
    if (std::find(place.options.begin(), place.options.end(), name) == place.options.end())
      return hint(fmt::format("unknown option {}", name), nearest(name, place.options));
  }
  return hint(problem, "");
}

}  // namespace trident
