#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <type_traits>
#include <vector>

#include "train/config/keys.h"
#include "train/config/rank_order.h"
#include "train/config/scalars.h"

namespace trident::config {

// Values of the job file as it spells them.

inline std::string format(bool value) { return value ? "true" : "false"; }
inline std::string format(int64_t value) { return std::to_string(value); }
inline std::string format(double value) { return format_number(value); }
inline std::string format(const std::string& value) { return format_text(value); }
inline std::string format(Seconds value) { return format_duration(value); }
inline std::string format(const Resume& value) { return format_resume(value); }
inline std::string format(const std::array<double, 2>& value) {
  return fmt::format("[{}, {}]", format_number(value[0]), format_number(value[1]));
}
inline std::string format(const std::array<int64_t, 2>& value) { return fmt::format("[{}, {}]", value[0], value[1]); }
inline std::string format(const std::vector<int64_t>& values) { return fmt::format("[{}]", fmt::join(values, ", ")); }
inline std::string format(const MeshOrder& order) { return name_of(order); }
inline std::string format(const std::vector<DataSource>& sources) {
  std::vector<std::string> items;
  items.reserve(sources.size());
  for (const auto& source : sources) {
    items.push_back(fmt::format("{{path: {}, weight: {}}}", format_text(source.path), format_number(source.weight)));
  }
  return fmt::format("[{}]", fmt::join(items, ", "));
}
template <class E>
requires std::is_enum_v<E> std::string format(E value) { return std::string(name_of(value)); }
template <class T>
std::string format(const Auto<T>& value) {
  return value.is_auto() ? "auto" : format(value.value());
}

}  // namespace trident::config
