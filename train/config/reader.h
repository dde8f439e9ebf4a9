#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "train/config/read_value.h"
#include "train/config/reading.h"

namespace trident::config {

/// The visitor that fills a JobConfig from a YamlNode tree and reports every key that does not fit.
class Reader {
 public:
  Reader(const YamlNode& root, Reading& reading) : reading_(reading), node_(&root) {}

  template <class T>
  void operator()(std::string_view name, T& field, const Key& key) {
    note(name, key);
    const auto path = path_of(name);
    const YamlNode* value = find(name, key);
    if (value == nullptr || (key.presence == Presence::derived && value->is("auto"))) return absent(path, key);
    reading_.given[path] = value->place;
    reading_.origins[path] = origin(value->place);
    if (!read_value(*value, field, ValueContext{reading_.diagnostics, path, key})) reading_.failed.insert(path);
  }

  void operator()(std::string_view name, std::vector<DataSource>& field, const Key& key);

  template <class S>
  void section(std::string_view name, S& value, std::string_view /*help*/, std::string_view example) {
    known_.emplace_back(name);
    const YamlNode* node = enter(name, example);
    Reader inner(node == nullptr ? empty() : *node, reading_);
    inner.prefix_ = std::string(name) + ".";
    if constexpr (requires { value.set_auto(); }) {
      if (node != nullptr && (node->is("auto") || node->base_auto)) {
        value.set_auto();
        reading_.planned = true;
        inner.absent_origin_ = origin(node->place);
      }
    }
    visit(inner, value);
    inner.finish();
  }

  /// Reports keys that no visit asked for.
  void finish();

 private:
  static const YamlNode& empty();

  [[nodiscard]] std::string path_of(std::string_view name) const { return prefix_ + std::string(name); }
  [[nodiscard]] std::string origin(Place place) const;
  void note(std::string_view name, const Key& key);
  const YamlNode* find(std::string_view name, const Key& key) const;
  const YamlNode* enter(std::string_view name, std::string_view example);
  void absent(const std::string& path, const Key& key);
  bool read_source(const YamlNode& node, const std::string& path, const Key& key, DataSource& out);

  Reading& reading_;
  const YamlNode* node_;
  std::string prefix_;
  std::string absent_origin_ = "default";
  std::vector<std::string> known_;
};

}  // namespace trident::config
