#include "train/config/suggest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <numeric>
#include <optional>

#include "train/config/foreign_names.h"
#include "train/config/keys.h"

namespace trident::config {
namespace {

constexpr std::size_t kLongestKey = 64;

class PathCollector {
 public:
  template <class T>
  void operator()(std::string_view name, T&, const Key& key) {
    paths.push_back(prefix_ + std::string(name));
    if (!key.also.empty()) paths.push_back(prefix_ + std::string(key.also));
  }
  template <class S>
  void section(std::string_view name, S& value, std::string_view, std::string_view) {
    paths.emplace_back(name);
    prefix_ = std::string(name) + ".";
    visit(*this, value);
    prefix_.clear();
  }
  std::vector<std::string> paths;

 private:
  std::string prefix_;
};

std::string folded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c != '_' && c != '-') out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return out;
}

std::size_t tolerance(std::string_view word) {
  return word.size() <= 2 ? 0 : word.size() <= 4 ? 1 : 1 + word.size() / 5;
}

std::string join(std::string_view section, std::string_view key) {
  return section.empty() ? std::string(key) : fmt::format("{}.{}", section, key);
}

/// How far an unknown key is from a legal path; nothing where it is too far to be worth saying.
std::optional<std::size_t> cost(std::string_view section, std::string_view key, std::string_view path) {
  const auto dot = path.rfind('.');
  const auto home = dot == std::string_view::npos ? std::string_view{} : path.substr(0, dot);
  const auto name = dot == std::string_view::npos ? path : path.substr(dot + 1);
  const std::size_t elsewhere = home == section ? 0 : 3;
  const auto a = folded(key);
  const auto b = folded(name);
  if (a == b) return elsewhere;
  // "interval" for interval_steps, "warmup" for warmup_steps: close only in its own section.
  if (elsewhere == 0 && a.size() >= 3 && (b.starts_with(a) || b.ends_with(a))) return 1;
  const auto distance = edit_distance(a, b);
  const bool near = distance <= tolerance(a) && distance < b.size();
  // "keep_last" for keep; but one letter wrong in a longer name is nearer.
  const bool extends = elsewhere == 0 && a.starts_with(b) && b.size() >= 4;
  if (extends) return near ? std::min<std::size_t>(3, 2 * distance) : 3;
  if (!near) return std::nullopt;
  return elsewhere + 2 * distance;
}

/// The legal paths that share the least cost, at most three.
std::vector<std::string> nearest_paths(std::string_view section, std::string_view key) {
  std::vector<std::string> best;
  std::size_t least = SIZE_MAX;
  for (const auto& path : legal_paths()) {
    const auto here = cost(section, key, path);
    if (!here || *here > least) continue;
    if (*here < least) best.clear();
    least = *here;
    best.push_back(path);
  }
  if (best.size() > 3) best.resize(3);
  return best;
}

std::string foreign_remedy(const ForeignName& name) {
  if (name.here.empty()) return std::string(name.advice);
  if (name.advice.empty()) return fmt::format("here: {}", name.here);
  return fmt::format("here: {} ({})", name.here, name.advice);
}

std::string list_of_keys(std::string_view section) {
  std::vector<std::string_view> keys;
  for (const std::string_view path : legal_paths()) {
    const auto dot = path.rfind('.');
    const auto home = dot == std::string_view::npos ? std::string_view{} : path.substr(0, dot);
    if (home == section) keys.push_back(path.substr(dot == std::string_view::npos ? 0 : dot + 1));
  }
  if (section.empty()) return fmt::format("top-level keys: {}", fmt::join(keys, ", "));
  return fmt::format("keys of {}: {}", section, fmt::join(keys, ", "));
}

}  // namespace

const std::vector<std::string>& legal_paths() {
  static const std::vector<std::string> kPaths = [] {
    PathCollector collector;
    JobConfig job;
    visit(collector, job);
    return collector.paths;
  }();
  return kPaths;
}

Suggestion suggest_key(std::string_view section, std::string_view key) {
  const std::string unknown = "unknown key " + join(section, key.substr(0, kLongestKey));
  if (key.empty() || key.size() > kLongestKey) return {unknown, list_of_keys(section)};
  if (key.find(':') != std::string_view::npos) return {unknown, "put a space after the colon"};
  const auto paths = nearest_paths(section, key);
  const auto is_exact = [&](std::string_view path) {
    return path == key || (path.ends_with(key) && path[path.size() - key.size() - 1] == '.');
  };
  const auto foreign = find_foreign_name(key);
  // A key of ours in the wrong section is a slip, not a foreign name.
  if (foreign && (paths.empty() || !is_exact(paths.front()))) {
    return {fmt::format("{} is {}'s name", key, foreign->owner), foreign_remedy(*foreign), true};
  }
  if (paths.empty()) return {unknown, list_of_keys(section)};
  return {unknown, fmt::format("did you mean {}?", fmt::join(paths, " or "))};
}

std::string nearest(std::string_view word, const std::vector<std::string>& choices) {
  std::string best;
  std::size_t least = SIZE_MAX;
  if (word.size() > kLongestKey) return best;
  for (const auto& choice : choices) {
    const auto a = folded(word);
    const auto b = folded(choice);
    const auto distance = b.starts_with(a) && a.size() >= 2 ? 1 : edit_distance(a, b);
    if (distance < least && distance <= std::max<std::size_t>(1, tolerance(a)) && distance < b.size()) {
      least = distance;
      best = choice;
    }
  }
  return best;
}

// Optimal string alignment: three rows of the dynamic programme.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> before(b.size() + 1);
  std::vector<std::size_t> previous(b.size() + 1);
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(previous.begin(), previous.end(), 0U);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replace = previous[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({replace, previous[j] + 1, row[j - 1] + 1});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) row[j] = std::min(row[j], before[j - 2] + 1);
    }
    std::swap(before, previous);
    std::swap(previous, row);
  }
  return previous[b.size()];
}

}  // namespace trident::config
