#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace trident::config {

/// Every legal dotted path, sections first named ("model", "model.hidden_size", …).
const std::vector<std::string>& legal_paths();

/// What an unknown key is most likely meant to be.
struct Suggestion {
  std::string problem;  ///< "unknown key training.lr", or "micro-batch-size is Megatron-LM's name"
  std::string remedy;   ///< "did you mean optimizer.lr?"
  bool foreign = false;
};

/// Looks for `key`, found in `section` (empty: the top level): names of other trainers first, then the nearest legal
/// full path, so that a key in the wrong section is found too.
Suggestion suggest_key(std::string_view section, std::string_view key);

/// The nearest of `choices`, empty where none is near.
std::string nearest(std::string_view word, const std::vector<std::string>& choices);

/// Edits (insert, delete, replace, swap neighbours) from `a` to `b`.
std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace trident::config
