#include "train/config/reader.h"

#include "train/config/suggest.h"

namespace trident::config {

const YamlNode& Reader::empty() {
  static const YamlNode kEmpty(YamlNode::Kind::map, {});
  return kEmpty;
}

std::string Reader::origin(Place place) const {
  const auto& name = reading_.diagnostics.source(place.source).name;
  return place.source == 0 ? fmt::format("{}:{}", name, place.line) : name;
}

void Reader::note(std::string_view name, const Key& key) {
  known_.emplace_back(name);
  if (!key.also.empty()) known_.emplace_back(key.also);
}

/// The value under the key's name or its second name; of both, the one from the command line.
const YamlNode* Reader::find(std::string_view name, const Key& key) const {
  const YamlNode* value = node_->find(name);
  const YamlNode* also = key.also.empty() ? nullptr : node_->find(key.also);
  if (value == nullptr || also == nullptr) return value == nullptr ? also : value;
  return also->place.source > value->place.source ? also : value;
}

/// The mapping of section `name`, null where it is absent or something else (which is reported).
const YamlNode* Reader::enter(std::string_view name, std::string_view example) {
  const YamlNode* node = node_->find(name);
  if (node == nullptr) return nullptr;
  reading_.given[std::string(name)] = node->place;
  if (node->kind == YamlNode::Kind::map || node->kind == YamlNode::Kind::refused) return node;
  if (name == "parallelism" && node->is("auto")) return node;
  const std::string what = node->kind == YamlNode::Kind::null       ? "has no keys"
                           : node->kind == YamlNode::Kind::sequence ? "is a list, expected a mapping of keys"
                                                                    : "is one value, expected a mapping of keys";
  reading_.diagnostics.add(node->place, "E105", fmt::format("{} {}", name, what),
                           fmt::format("e.g. {}: {}", name, example));
  reading_.failed.insert(std::string(name));
  return nullptr;
}

void Reader::absent(const std::string& path, const Key& key) {
  const bool from_preset = reading_.preset && prefix_ == "model." && path != "model.preset";
  reading_.origins[path] = from_preset ? "preset " + *reading_.preset : absent_origin_;
  if (key.presence != Presence::required || from_preset) return;
  reading_.failed.insert(path);
  const auto section = prefix_.substr(0, prefix_.rfind('.'));
  if (reading_.failed.contains(section) || (section == "model" && reading_.failed.contains("model.preset"))) return;
  if (!reading_.is_given(section)) {
    if (!reading_.failed.insert(section).second) return;
    const std::string_view example = section == "model" ? "model: {preset: llama-tiny}" : "data: {train: data/kjv}";
    reading_.diagnostics.add(reading_.start, "E108", fmt::format("{} is missing", section),
                             fmt::format("write e.g. {}", example));
    return;
  }
  const auto name = path.substr(path.rfind('.') + 1);
  const std::string_view instead = section == "model" ? ", or start from a preset: llama-tiny" : "";
  reading_.diagnostics.add(reading_.place_of({section}), "E108", fmt::format("{} is missing", path),
                           fmt::format("write e.g. {}: {}{}", name, key.example, instead));
}

void Reader::operator()(std::string_view name, std::vector<DataSource>& field, const Key& key) {
  note(name, key);
  const auto path = path_of(name);
  const YamlNode* value = find(name, key);
  if (value == nullptr) return absent(path, key);
  reading_.given[path] = value->place;
  reading_.origins[path] = origin(value->place);
  const ValueContext context{reading_.diagnostics, path, key};
  bool good = true;
  field.clear();
  if (value->kind == YamlNode::Kind::sequence) {
    if (value->items.empty()) good = context.wrong_text(*value, "the list is empty", "at least one prefix");
    for (const auto& item : value->items) {
      const auto element = fmt::format("{}[{}]", path, field.size());
      good = read_source(item, element, key, field.emplace_back()) && good;
    }
  } else {
    good = read_source(*value, path, key, field.emplace_back());
  }
  if (!good) reading_.failed.insert(path);
}

/// One entry of data.train: a prefix, or a mapping with path and weight.
bool Reader::read_source(const YamlNode& node, const std::string& path, const Key& key, DataSource& out) {
  const ValueContext context{reading_.diagnostics, path, key};
  if (node.kind == YamlNode::Kind::scalar) return read_value(node, out.path, context);
  if (node.kind != YamlNode::Kind::map) return context.wrong_type(node, "a prefix or {path, weight}");
  Reading local{reading_.diagnostics, node.place, {}, {}, {}, {}};
  local.given[path] = node.place;
  Reader inner(node, local);
  inner.prefix_ = path + ".";
  visit(inner, out);
  inner.finish();
  return local.failed.empty();
}

void Reader::finish() {
  if (node_->kind != YamlNode::Kind::map) return;
  const auto section = prefix_.substr(0, prefix_.empty() ? 0 : prefix_.size() - 1);
  for (const auto& entry : node_->entries) {
    if (std::find(known_.begin(), known_.end(), entry.key) != known_.end()) continue;
    const bool in_list = section.find('[') != std::string::npos;
    auto suggestion = suggest_key(section, entry.key);
    if (in_list) suggestion = {fmt::format("unknown key {}.{}", section, entry.key), "keys here: path, weight"};
    reading_.diagnostics.add(entry.place, suggestion.foreign ? "E102" : "E101", suggestion.problem, suggestion.remedy);
  }
}

}  // namespace trident::config
