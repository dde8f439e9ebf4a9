#include "train/config/overrides.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <utility>

namespace trident::config {
namespace {

constexpr std::size_t kMaxDepth = 8;

/// The map under `node`, made where there is none; null where a value stands in the way (the reader reports it).
YamlNode* as_map(YamlNode& node, Place place) {
  if (node.kind == YamlNode::Kind::map) return &node;
  if (node.is("auto")) {
    node = YamlNode(YamlNode::Kind::map, node.place);
    node.base_auto = true;
    return &node;
  }
  if (node.kind != YamlNode::Kind::null) return nullptr;
  node = YamlNode(YamlNode::Kind::map, place);
  return &node;
}

void put(YamlNode& map, const std::string& key, Place place, YamlNode value) {
  YamlNode* old = map.find(key);
  if (old == nullptr) {
    map.entries.push_back({key, place, std::move(value)});
    return;
  }
  if (value.kind == YamlNode::Kind::map && as_map(*old, place) != nullptr) {
    for (auto& entry : value.entries) put(*old, entry.key, entry.place, std::move(entry.value));
    return;
  }
  map.erase(key);
  map.entries.push_back({key, place, std::move(value)});
}

void apply(YamlNode& root, const std::string& argument, int source, Diagnostics& diagnostics) {
  const auto equals = argument.find('=');
  const std::string_view path = std::string_view(argument).substr(0, equals);
  const auto malformed = [&] {
    diagnostics.add({source, 1, 1}, "E110", fmt::format("`{}` is not dotted.key=value", argument.substr(0, 80)),
                    "write e.g. optimizer.lr=1.0e-3");
  };
  if (equals == std::string::npos || path.empty()) return malformed();
  if (std::count(path.begin(), path.end(), '.') >= static_cast<std::ptrdiff_t>(kMaxDepth)) return malformed();
  // Spaces instead of the key keep the columns of the value.
  YamlNode value = parse_yaml(source, std::string(equals + 1, ' ') + argument.substr(equals + 1), diagnostics);
  if (value.kind == YamlNode::Kind::null) value.place = {source, 1, static_cast<int>(equals) + 2};
  YamlNode* map = &root;
  std::size_t begin = 0;
  while (true) {
    const auto dot = path.find('.', begin);
    const std::string key(path.substr(begin, dot == std::string_view::npos ? dot : dot - begin));
    const Place place{source, 1, static_cast<int>(begin) + 1};
    if (key.empty()) return malformed();
    if (dot == std::string_view::npos) return put(*map, key, place, std::move(value));
    if (map->find(key) == nullptr) map->entries.push_back({key, place, YamlNode(YamlNode::Kind::map, place)});
    map = as_map(*map->find(key), place);
    if (map == nullptr) return;
    begin = dot + 1;
  }
}

}  // namespace

void apply_overrides(YamlNode& root, std::span<const std::string> arguments, Diagnostics& diagnostics) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const int source = diagnostics.add_source(fmt::format("command line argument {}", i + 1), arguments[i]);
    if (as_map(root, {source, 1, 1}) != nullptr) apply(root, arguments[i], source, diagnostics);
  }
}

}  // namespace trident::config
