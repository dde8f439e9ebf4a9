#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <optional>
#include <string>
#include <utility>

#include "train/config/config.h"
#include "train/config/format_value.h"
#include "train/config/keys.h"
#include "train/config/presets.h"

namespace trident {
namespace config {
namespace {

/// "1 to 4096", "0 or more", "above 0", "0 to below 1"; empty where nothing bounds the value.
std::string bounds(const Range& range) {
  const bool low = std::isfinite(range.min);
  const bool high = std::isfinite(range.max);
  if (low && range.min == range.max) return fmt::format("{:.12g}", range.min);
  if (low && high) return fmt::format("{:.12g} to {}{:.12g}", range.min, range.open_max ? "below " : "", range.max);
  if (low && range.open_min) return fmt::format("above {:.12g}", range.min);
  return low ? fmt::format("{:.12g} or more", range.min) : "";
}

std::string numbers(std::string_view kind, const Key& key) {
  const std::string range = bounds(key.range);
  return fmt::format("{}{}{}", kind, range.empty() ? "" : ", " + range, key.counts ? "; `1.5M` is read too" : "");
}

template <class Names>
std::string one_of(const Names& names) {
  return fmt::format("`{}`", fmt::join(names, "`, `"));
}

template <class T>
struct Values {
  static std::string text(const Key&) { return one_of(kNames<T>); }
};
template <>
struct Values<bool> {
  static std::string text(const Key&) { return "`true`, `false`"; }
};
template <>
struct Values<int64_t> {
  static std::string text(const Key& key) { return numbers("integer", key); }
};
template <>
struct Values<double> {
  static std::string text(const Key& key) { return numbers("number", key); }
};
template <>
struct Values<std::string> {
  static std::string text(const Key&) { return "text"; }
};
template <>
struct Values<Seconds> {
  static std::string text(const Key&) { return "duration in `ms`, `s`, `m`, `h` or `d`"; }
};
template <>
struct Values<Resume> {
  static std::string text(const Key&) { return "`auto`, `never`, integer or path"; }
};
template <>
struct Values<std::array<double, 2>> {
  static std::string text(const Key& key) { return "two numbers, each " + bounds(key.range); }
};
template <>
struct Values<std::array<int64_t, 2>> {
  static std::string text(const Key& key) { return "two integers, each " + bounds(key.range); }
};
template <>
struct Values<std::vector<int64_t>> {
  static std::string text(const Key& key) { return "list of integers, each " + bounds(key.range); }
};
template <>
struct Values<MeshOrder> {
  static std::string text(const Key&) { return one_of(rank_order_names()); }
};
template <>
struct Values<std::vector<DataSource>> {
  static std::string text(const Key&) { return "text, or a list"; }
};
template <class T>
struct Values<std::optional<T>> : Values<T> {};
template <class T>
struct Values<Auto<T>> {
  static std::string text(const Key& key) { return Values<T>::text(key) + ", `auto`"; }
};

template <class T>
std::string quoted(const T& value) {
  return "`" + format(value) + "`";
}
template <class T>
std::string quoted(const std::optional<T>&) {
  return "none";
}

/// Help that says what the default follows from needs no second word on it.
template <class T>
std::string default_of(const T& value, const Key& key) {
  if (key.presence == Presence::required) return "must be given";
  return key.help.find("default: ") != std::string_view::npos ? "see there" : quoted(value);
}

class TableWriter {
 public:
  template <class T>
  void operator()(std::string_view name, const T& value, const Key& key) {
    const std::string values = name == "preset" ? one_of(preset_names()) : Values<T>::text(key);
    rows_ += fmt::format("| `{}{}` | {} | {} | {}{} |\n", prefix_, name, default_of(value, key), values, key.help,
                         key.also.empty() ? "" : fmt::format("; also `{}`", key.also));
  }
  template <class S>
  void section(std::string_view name, const S& value, std::string_view help, std::string_view) {
    TableWriter inner(std::string(name) + ".");
    visit(inner, value);
    sections_ += fmt::format("\n### {}: {}\n\n{}", name, help, inner.text());
  }

  [[nodiscard]] std::string text() const {
    return "| key | default | values | meaning |\n|---|---|---|---|\n" + rows_ + sections_;
  }

  explicit TableWriter(std::string prefix = {}) : prefix_(std::move(prefix)) {}

 private:
  std::string prefix_;
  std::string rows_;
  std::string sections_;
};

}  // namespace
}  // namespace config

std::string key_table() {
  config::TableWriter writer;
  const JobConfig job;
  config::visit(writer, job);
  return writer.text();
}

}  // namespace trident
