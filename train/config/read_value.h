#pragma once

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "train/config/keys.h"
#include "train/config/scalars.h"
#include "train/config/suggest.h"
#include "train/config/yaml_document.h"

// One value from one YamlNode, by the type of the member that takes it. Every function returns false after reporting
// what is wrong, with the expected type and an example.

namespace trident::config {

struct ValueContext {
  Diagnostics& diagnostics;
  std::string path;  ///< dotted, for messages
  const Key& key;

  [[nodiscard]] std::string example() const;
  bool wrong_type(const YamlNode& node, std::string_view expected) const;
  bool wrong_text(const YamlNode& node, const std::string& reason, std::string_view expected) const;
  bool in_range(const YamlNode& node, double value, const std::string& written) const;
};

bool read_value(const YamlNode& node, bool& out, const ValueContext& context);
bool read_value(const YamlNode& node, int64_t& out, const ValueContext& context);
bool read_value(const YamlNode& node, double& out, const ValueContext& context);
bool read_value(const YamlNode& node, std::string& out, const ValueContext& context);
bool read_value(const YamlNode& node, Seconds& out, const ValueContext& context);
bool read_value(const YamlNode& node, Resume& out, const ValueContext& context);
bool read_value(const YamlNode& node, std::array<double, 2>& out, const ValueContext& context);
bool read_value(const YamlNode& node, std::array<int64_t, 2>& out, const ValueContext& context);
bool read_value(const YamlNode& node, std::vector<int64_t>& out, const ValueContext& context);
bool read_value(const YamlNode& node, MeshOrder& out, const ValueContext& context);

/// Reports an unknown name with the nearest legal one; false always.
bool refuse_name(const YamlNode& node, const std::vector<std::string>& names, const ValueContext& context);

template <class E>
requires std::is_enum_v<E>
bool read_value(const YamlNode& node, E& out, const ValueContext& context) {
  if (node.kind == YamlNode::Kind::scalar) {
    for (std::size_t i = 0; i < kNames<E>.size(); ++i) {
      if (node.text == kNames<E>[i]) {
        out = static_cast<E>(i);
        return true;
      }
    }
  }
  return refuse_name(node, {kNames<E>.begin(), kNames<E>.end()}, context);
}

template <class T>
bool read_value(const YamlNode& node, std::optional<T>& out, const ValueContext& context) {
  T value{};
  if (!read_value(node, value, context)) return false;
  out = std::move(value);
  return true;
}

template <class T>
bool read_value(const YamlNode& node, Auto<T>& out, const ValueContext& context) {
  if (node.is("auto")) {
    out = {};
    return true;
  }
  T value{};
  if (!read_value(node, value, context)) return false;
  out = value;
  return true;
}

}  // namespace trident::config
