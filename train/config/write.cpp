#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <vector>

#include "train/config/config.h"
#include "train/config/format_value.h"
#include "train/config/keys.h"

namespace trident {
namespace config {
namespace {

/// The visitor that writes a job: one line per key, absent optional keys left out.
class Writer {
 public:
  struct Line {
    std::string text;
    std::string path;  ///< empty for a section's name
  };

  template <class T>
  void operator()(std::string_view name, const T& value, const Key&) {
    add(name, format(value));
  }
  template <class T>
  void operator()(std::string_view name, const std::optional<T>& value, const Key&) {
    if (value) add(name, format(*value));
  }
  template <class S>
  void section(std::string_view name, const S& value, std::string_view, std::string_view) {
    lines.push_back({fmt::format("{}:", name), {}});
    prefix_ = std::string(name) + ".";
    visit(*this, value);
    prefix_.clear();
  }

  std::vector<Line> lines;

 private:
  void add(std::string_view name, const std::string& text) {
    lines.push_back({fmt::format("{}{}: {}", prefix_.empty() ? "" : "  ", name, text), prefix_ + std::string(name)});
  }

  std::string prefix_;
};

std::vector<Writer::Line> lines_of(const JobConfig& job) {
  Writer writer;
  visit(writer, job);
  return writer.lines;
}

/// Origins hold file names; a line end in one must not end the comment.
std::string comment(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7F; }, '?');
  return text;
}

}  // namespace
}  // namespace config

std::string to_yaml(const JobConfig& job) {
  std::string text;
  for (const auto& line : config::lines_of(job)) text += line.text + "\n";
  return text;
}

std::string to_yaml_with_origins(const JobConfig& job, const ResolvedOrigins& origins) {
  constexpr std::size_t kColumn = 44;
  std::string text;
  for (const auto& line : config::lines_of(job)) {
    const auto origin = origins.origins.find(line.path);
    text += line.text;
    if (origin != origins.origins.end()) {
      const auto gap = line.text.size() < kColumn ? kColumn - line.text.size() : 1;
      text += fmt::format("{} # {}", std::string(gap, ' '), config::comment(origin->second));
    }
    text += "\n";
  }
  return text;
}

}  // namespace trident
