#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace trident {

/// One entry of tokenizer.json's "added_tokens": text that is an id of its own, wherever it stands.
struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;
  bool single_word = false;  ///< only where no word character touches it
  bool lstrip = false;       ///< takes the white space before it along
  bool rstrip = false;       ///< takes the white space behind it along
  bool normalized = false;   ///< looked for in the normalized text
};

/// Finds added tokens in text: leftmost first, of those the longest, as Hugging Face's tokenizers do.
class AddedTokenMatcher {
 public:
  /// `pattern` is what to look for (the content, or its normalized form); not empty, the first of equals wins.
  void add(const AddedToken& token, std::string_view pattern);
  bool empty() const { return patterns_.empty(); }

  /// Calls `on_text` and `on_id` for the parts of `text` (well-formed UTF-8), in order; no part is empty.
  void split(std::string_view text, const std::function<void(std::string_view)>& on_text,
             const std::function<void(int32_t)>& on_id) const;

 private:
  struct Pattern {
    AddedToken token;
    size_t length = 0;
  };
  struct Node {
    int32_t pattern = -1;
  };
  /// The longest pattern that starts at `at`, or null.
  const Pattern* longest_at(std::string_view text, size_t at) const;

  std::vector<Pattern> patterns_;
  std::vector<Node> nodes_{1};                       // a trie over bytes
  std::unordered_map<uint64_t, uint32_t> children_;  // (node, byte) -> node
  std::array<bool, 256> starts_{};
};

}  // namespace trident
