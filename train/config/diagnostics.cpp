#include "train/config/diagnostics.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace trident::config {
namespace {

constexpr std::size_t kMaxProblems = 100;
constexpr std::size_t kExcerptBytes = 110;

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0U) == 0x80U; }

std::size_t characters(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return !continues_character(c); }));
}

std::string_view line_at(std::string_view text, int line) {
  for (int skipped = 1; skipped < line; ++skipped) {
    const auto end = text.find('\n');
    if (end == std::string_view::npos) return {};
    text.remove_prefix(end + 1);
  }
  text = text.substr(0, text.find('\n'));
  if (!text.empty() && text.back() == '\r') text.remove_suffix(1);
  return text;
}

/// Bytes that would disturb a terminal become '?'.
std::string printable(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\t') c = ' ';
    if (byte < 0x20 || byte == 0x7F) c = c == ' ' ? ' ' : '?';
  }
  return out;
}

}  // namespace

int Diagnostics::add_source(std::string name, std::string text) {
  sources_.push_back({std::move(name), std::move(text)});
  return static_cast<int>(sources_.size()) - 1;
}

void Diagnostics::add(Place place, std::string code, std::string problem, std::string remedy) {
  if (errors_.size() == kMaxProblems) {
    ++suppressed_;
    return;
  }
  errors_.push_back({place, std::move(code), std::move(problem), std::move(remedy)});
}

void Diagnostics::warn(Place place, std::string code, std::string problem, std::string remedy) {
  warnings_.push_back({place, std::move(code), std::move(problem), std::move(remedy)});
}

std::string Diagnostics::where(Place place) const {
  const auto before =
      line_at(source(place.source).text, place.line).substr(0, static_cast<std::size_t>(place.column - 1));
  return fmt::format("{}:{}:{}", source(place.source).name, place.line, characters(before) + 1);
}

std::string Diagnostics::line_of(const Problem& problem) const {
  return fmt::format("{}: {}; {} [{}]", where(problem.place), printable(problem.problem), printable(problem.remedy),
                     problem.code);
}

/// The source line and a caret below it; of a long line, the part around the caret.
std::string Diagnostics::excerpt(Place place) const {
  const auto line = line_at(source(place.source).text, place.line);
  const auto column = std::min(static_cast<std::size_t>(place.column - 1), line.size());
  if (line.empty()) return {};
  std::size_t begin = column > kExcerptBytes - 30 ? column - (kExcerptBytes - 30) : 0;
  while (begin > 0 && continues_character(line[begin])) --begin;
  std::size_t end = std::min(begin + kExcerptBytes, line.size());
  while (end < line.size() && continues_character(line[end])) ++end;
  const auto shown = printable(line.substr(begin, end - begin));
  const auto indent = characters(line.substr(begin, column - begin));
  return fmt::format("\n    {}\n    {}^", shown, std::string(indent, ' '));
}

std::vector<std::string> Diagnostics::warnings() const {
  std::vector<std::string> lines;
  for (const auto& warning : warnings_) lines.push_back(line_of(warning));
  return lines;
}

void Diagnostics::throw_if_failed() const {
  if (!failed()) return;
  auto ordered = errors_;
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const Problem& a, const Problem& b) { return a.place < b.place; });
  std::string text;
  for (const auto& problem : ordered) {
    if (!text.empty()) text += "\n";
    text += line_of(problem);
    text += excerpt(problem.place);
  }
  if (suppressed_ > 0) text += fmt::format("\nand {} more problems", suppressed_);
  throw ConfigErrors(text, std::move(ordered));
}

}  // namespace trident::config

namespace trident {

ConfigErrors::ConfigErrors(const std::string& text, std::vector<config::Problem> problems)
    : Error(ErrorCode::config, "", text), problems_(std::move(problems)) {}

}  // namespace trident
