#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "train/config/diagnostics.h"

namespace trident::config {

/// A YAML value as written: scalars stay text, every node and key knows its place.
struct YamlNode {
  enum class Kind {
    null,
    scalar,
    sequence,
    map,
    refused,  ///< already reported; readers skip it
  };

  struct Entry;

  YamlNode() = default;
  YamlNode(Kind node_kind, Place node_place, std::string node_text = {}, bool is_quoted = false);

  Kind kind = Kind::null;
  Place place;
  std::string text;             ///< scalar
  bool quoted = false;          ///< scalar in quotes or a block: text, whatever it looks like
  std::vector<YamlNode> items;  ///< sequence
  std::vector<Entry> entries;   ///< map, keys unique, in file order
  bool base_auto = false;       ///< a map laid over the scalar `auto`: what it leaves out stays auto

  bool is(std::string_view plain) const { return kind == Kind::scalar && !quoted && text == plain; }
  const YamlNode* find(std::string_view key) const;
  YamlNode* find(std::string_view key);
  bool erase(std::string_view key);
};

struct YamlNode::Entry {
  std::string key;
  Place place{};
  YamlNode value;
};

/// Reads `text`, which lies in source `source` of `diagnostics`, as one YAML document. What YAML allows and a job file
/// does not (duplicate keys, anchors, aliases, merges, tags, a second document, tabs as indentation, bytes that are no
/// text) is reported there. Size, depth and width are bounded. Never throws for any bytes; after a syntax error the
/// result is what was read before it, of kind `refused`.
YamlNode parse_yaml(int source, const std::string& text, Diagnostics& diagnostics);

/// What is said of a document that is no mapping.
struct NoMapping {
  std::string code, problem, remedy;
};

/// A whole file that must be one mapping, as the first source of `diagnostics`. Throws ConfigErrors where it is not.
YamlNode parse_mapping(const std::string& file_name, const std::string& text, const NoMapping& otherwise,
                       Diagnostics& diagnostics);

}  // namespace trident::config
