#include "launch/suggest_verb.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <string_view>
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

std::vector<std::string> verbs_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* verb : app.get_subcommands({})) names.push_back(verb->get_name());
  return names;
}

std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

const CLI::App* find_verb(const CLI::App& app, std::string_view name) {
  for (const CLI::App* verb : app.get_subcommands({}))
    if (verb->get_name() == name) return verb;
  return nullptr;
}

}  // namespace

std::string usage_problem(const CLI::App& program, const CLI::ParseError& error, int argc, char** argv) {
  const CLI::App* at = &program;
  std::string path = "trident";
  int next = 1;
  for (; next < argc; ++next) {
    const CLI::App* verb = find_verb(*at, argv[next]);
    if (verb == nullptr) break;
    at = verb;
    path += std::string(" ") + argv[next];
  }
  const auto hint = [&](const std::string& problem, const std::string& suggestion) {
    return fmt::format("{}: {}{}\nhelp: {} --help\n", path, problem,
                       suggestion.empty() ? "" : fmt::format("; did you mean {}?", suggestion), path);
  };
  const auto verbs = verbs_of(*at);
  if (!verbs.empty()) {
    if (next >= argc) return hint(fmt::format("a verb is missing: {}", fmt::join(verbs, ", ")), "");
    if (argv[next][0] != '-') return hint(fmt::format("unknown verb {}", argv[next]), nearest(argv[next], verbs));
  }
  const auto options = options_of(*at);
  for (; next < argc; ++next) {
    const std::string_view word = argv[next];
    const std::string name(word.substr(0, word.find('=')));
    if (!name.starts_with("--") || name == "--") continue;
    if (std::find(options.begin(), options.end(), name) == options.end())
      return hint(fmt::format("unknown option {}", name), nearest(name, options));
  }
  return hint(error.what(), "");
}

}  // namespace trident
