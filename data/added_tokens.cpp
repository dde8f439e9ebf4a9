#include "data/added_tokens.h"

#include <unicode/uchar.h>

#include <algorithm>

#include "data/newer_unicode.h"
#include "data/utf8.h"

namespace trident {
namespace {

uint64_t edge(uint32_t node, char byte) { return (uint64_t{node} << 8) | static_cast<unsigned char>(byte); }

bool is_word(char32_t c) {
  const std::string_view newer = newer_category(c);
  if (!newer.empty()) return newer[0] == 'L' || newer[0] == 'M' || newer == "Nd" || newer == "Pc";
  const auto code = static_cast<UChar32>(c);
  const auto category = u_charType(code);
  return u_isUAlphabetic(code) != 0 || category == U_NON_SPACING_MARK || category == U_COMBINING_SPACING_MARK ||
         category == U_ENCLOSING_MARK || category == U_DECIMAL_DIGIT_NUMBER || category == U_CONNECTOR_PUNCTUATION ||
         u_hasBinaryProperty(code, UCHAR_JOIN_CONTROL) != 0;
}

bool is_space(char32_t c) { return u_isUWhiteSpace(static_cast<UChar32>(c)) != 0; }

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  const bool word_before = begin > 0 && is_word(utf8_last(text.substr(0, begin)));
  const bool word_behind = end < text.size() && is_word(utf8_first(text.substr(end)));
  return !word_before && !word_behind;
}

size_t space_start(std::string_view text, size_t end, size_t floor) {
  while (end > floor && is_space(utf8_last(text.substr(0, end)))) {
    do --end;
    while ((static_cast<unsigned char>(text[end]) & 0xc0) == 0x80);
  }
  return end;
}

size_t space_end(std::string_view text, size_t begin) {
  while (begin < text.size() && is_space(utf8_first(text.substr(begin)))) begin += utf8_length(text[begin]);
  return begin;
}

}  // namespace

void AddedTokenMatcher::add(const AddedToken& token, std::string_view pattern) {
  uint32_t node = 0;
  for (const char byte : pattern) {
    const auto [entry, fresh] = children_.try_emplace(edge(node, byte), static_cast<uint32_t>(nodes_.size()));
    if (fresh) nodes_.emplace_back();
    node = entry->second;
  }
  if (node == 0 || nodes_[node].pattern >= 0) return;
  nodes_[node].pattern = static_cast<int32_t>(patterns_.size());
  patterns_.push_back({token, pattern.size()});
  starts_[static_cast<unsigned char>(pattern[0])] = true;
}

const AddedTokenMatcher::Pattern* AddedTokenMatcher::longest_at(std::string_view text, size_t at) const {
  const Pattern* longest = nullptr;
  uint32_t node = 0;
  for (; at < text.size(); ++at) {
    const auto child = children_.find(edge(node, text[at]));
    if (child == children_.end()) break;
    node = child->second;
    if (nodes_[node].pattern >= 0) longest = &patterns_[static_cast<size_t>(nodes_[node].pattern)];
  }
  return longest;
}

void AddedTokenMatcher::split(std::string_view text, const std::function<void(std::string_view)>& on_text,
                              const std::function<void(int32_t)>& on_id) const {
  size_t done = 0;  // everything before it has been handed out
  for (size_t at = 0; at < text.size() && !patterns_.empty();) {
    const Pattern* found = starts_[static_cast<unsigned char>(text[at])] ? longest_at(text, at) : nullptr;
    if (found == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at;
    size_t end = at + found->length;
    at = end;
    if (found->token.single_word && !stands_alone(text, begin, end)) continue;
    if (found->token.lstrip) begin = space_start(text, begin, done);
    if (found->token.rstrip) end = space_end(text, end);
    if (done < begin) on_text(text.substr(done, begin - done));
    on_id(found->token.id);
    done = end;
  }
  if (done < text.size()) on_text(text.substr(done));
}

}  // namespace trident
