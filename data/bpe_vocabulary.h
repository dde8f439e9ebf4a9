#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace trident {

/// The pair `left`,`right` becomes `result`; a merge's rank is its place in the list.
struct BpeMerge {
  int32_t left;
  int32_t right;
  int32_t result;
};

/// Tokens by id and merges by rank, as a byte-level vocabulary file spells them (in the byte alphabet).
/// The `add` functions return what is wrong with their arguments, empty where nothing is.
class BpeVocabulary {
 public:
  [[nodiscard]] std::string add_token(const std::string& text, int64_t id);
  /// `check_density` refuses ids that leave most of the range unused, which a damaged id would make huge.
  [[nodiscard]] std::string check_density() const;
  /// Both parts and what they make must be tokens already.
  [[nodiscard]] std::string add_merge(std::string_view left, std::string_view right);

  std::optional<int32_t> find(std::string_view text) const;
  /// By id; empty where no token has that id.
  const std::vector<std::string>& tokens() const { return tokens_; }
  const std::vector<BpeMerge>& merges() const { return merges_; }
  size_t token_count() const { return ids_.size(); }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
  };

  std::unordered_map<std::string, int32_t, Hash, std::equal_to<>> ids_;
  std::vector<std::string> tokens_;
  std::vector<BpeMerge> merges_;
};

}  // namespace trident
