#include "data/bpe_vocabulary.h"

#include <fmt/format.h>

namespace trident {
namespace {

constexpr int64_t kMaxId = (int64_t{1} << 24) - 1;

}  // namespace

std::string BpeVocabulary::add_token(const std::string& text, int64_t id) {
  if (text.empty()) return fmt::format("id {} has an empty token", id);
  if (id < 0 || id > kMaxId) return fmt::format("id {} is out of range, 0 to {} expected", id, kMaxId);
  if (ids_.count(text) != 0) return fmt::format("token \"{}\" occurs twice", text);
  const auto index = static_cast<size_t>(id);
  if (index >= tokens_.size()) tokens_.resize(index + 1);
  if (!tokens_[index].empty()) return fmt::format("id {} is both \"{}\" and \"{}\"", id, tokens_[index], text);
  tokens_[index] = text;
  ids_.emplace(text, static_cast<int32_t>(id));
  return {};
}

std::string BpeVocabulary::check_density() const {
  if (tokens_.size() <= 2 * token_count() + 1024) return {};
  return fmt::format("ids reach {} with only {} tokens; too sparse", tokens_.size() - 1, token_count());
}

std::string BpeVocabulary::add_merge(std::string_view left, std::string_view right) {
  if (left.empty() || right.empty()) return "a merge needs two tokens with a space between them";
  const auto left_id = find(left);
  if (!left_id) return fmt::format("merge names \"{}\", which is no token", left);
  const auto right_id = find(right);
  if (!right_id) return fmt::format("merge names \"{}\", which is no token", right);
  const std::string joined = std::string(left) + std::string(right);
  const auto result = find(joined);
  if (!result) return fmt::format("merge makes \"{}\", which is no token", joined);
  merges_.push_back({*left_id, *right_id, *result});
  return {};
}

std::optional<int32_t> BpeVocabulary::find(std::string_view text) const {
  const auto found = ids_.find(text);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

}  // namespace trident
