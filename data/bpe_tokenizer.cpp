#include "data/bpe_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"
#include "data/byte_alphabet.h"
#include "data/digest.h"
#include "data/utf8.h"

namespace trident {
namespace {

std::string hash_of(const BpeTokenizerParts& parts) {
  Digest digest;
  digest.add("bpe").add(parts.pre_tokenizer_text);
  for (const NormalForm form : parts.normalizer.forms()) digest.add(static_cast<int64_t>(form));
  digest.add(static_cast<int64_t>(parts.options.ignore_merges)).add(static_cast<int64_t>(parts.options.fuse_unknown));
  digest.add(parts.options.unknown.value_or(-1));
  digest.add("tokens");
  for (const std::string& token : parts.vocabulary.tokens()) digest.add(token);
  digest.add("merges");
  for (const BpeMerge& merge : parts.vocabulary.merges()) digest.add(merge.left).add(merge.right).add(merge.result);
  digest.add("added");
  for (const AddedToken& token : parts.added_tokens) {
    const int flags = (token.special ? 1 : 0) | (token.single_word ? 2 : 0) | (token.lstrip ? 4 : 0) |
                      (token.rstrip ? 8 : 0) | (token.normalized ? 16 : 0);
    digest.add(token.id).add(token.content).add(static_cast<int64_t>(flags));
  }
  return digest.hex();
}

/// The bytes of every id; empty where no token has it.
std::vector<std::string> decoded_tokens(const BpeTokenizerParts& parts) {
  const std::vector<std::string>& tokens = parts.vocabulary.tokens();
  std::vector<std::string> bytes;
  bytes.reserve(tokens.size());
  for (const std::string& token : tokens) bytes.push_back(from_byte_alphabet(token).value_or(token));

  std::vector<bool> merged(tokens.size());
  for (const BpeMerge& merge : parts.vocabulary.merges()) merged[static_cast<size_t>(merge.result)] = true;
  for (const AddedToken& token : parts.added_tokens) {
    const auto id = static_cast<size_t>(token.id);
    if (id >= bytes.size()) bytes.resize(id + 1);
    // An id that merges make too stands for bytes; any other added token for its own text.
    const bool stands_for_bytes = id < tokens.size() && (merged[id] || (!tokens[id].empty() && bytes[id].size() == 1));
    if (!stands_for_bytes) bytes[id] = token.content;
  }
  return bytes;
}

class BpeTokenizer final : public Tokenizer {
 public:
  explicit BpeTokenizer(BpeTokenizerParts parts)
      : kind_(std::move(parts.kind)),
        hash_(hash_of(parts)),
        decoded_(decoded_tokens(parts)),
        normalizer_(std::move(parts.normalizer)),
        pre_tokenizer_(std::move(parts.pre_tokenizer)),
        bpe_(parts.vocabulary, parts.options),
        end_of_document_(parts.end_of_document),
        begin_of_document_(parts.begin_of_document) {
    for (const AddedToken& token : parts.added_tokens) {
      std::string buffer;
      (token.normalized ? added_normalized_ : added_raw_)
          .add(token, token.normalized ? normalizer_.apply(token.content, buffer) : token.content);
    }
  }

  std::string_view kind() const override { return kind_; }
  int64_t vocab_size() const override { return static_cast<int64_t>(decoded_.size()); }
  std::optional<int32_t> end_of_document() const override { return end_of_document_; }
  std::optional<int32_t> begin_of_document() const override { return begin_of_document_; }
  std::string hash() const override { return hash_; }

  void encode_append(std::string_view text, std::vector<int32_t>& out) const override {
    while (!text.empty()) {
      const size_t valid = utf8_valid_prefix(text);
      encode_valid(text.substr(0, valid), out);
      text.remove_prefix(valid);
      const size_t invalid = utf8_invalid_prefix(text);
      if (invalid > 0) bpe_.encode(text.substr(0, invalid), out);
      text.remove_prefix(invalid);
    }
  }

  std::string decode(std::span<const int32_t> ids) const override {
    std::string text;
    for (const int32_t id : ids) {
      if (id < 0 || static_cast<size_t>(id) >= decoded_.size() || decoded_[static_cast<size_t>(id)].empty()) {
        throw Error(ErrorCode::bad_data, "data/tokenizer",
                    fmt::format("id {} names no token (vocabulary of {})", id, decoded_.size()),
                    "decode with the tokenizer that made the ids");
      }
      text += decoded_[static_cast<size_t>(id)];
    }
    return text;
  }

 private:
  void encode_valid(std::string_view text, std::vector<int32_t>& out) const {
    if (added_raw_.empty()) {
      encode_unnormalized(text, out);
      return;
    }
    added_raw_.split(
        text, [&](std::string_view part) { encode_unnormalized(part, out); }, [&](int32_t id) { out.push_back(id); });
  }

  void encode_unnormalized(std::string_view text, std::vector<int32_t>& out) const {
    std::string buffer;
    const std::string_view normalized = normalizer_.apply(text, buffer);
    if (added_normalized_.empty()) {
      encode_plain(normalized, out);
      return;
    }
    added_normalized_.split(
        normalized, [&](std::string_view part) { encode_plain(part, out); }, [&](int32_t id) { out.push_back(id); });
  }

  void encode_plain(std::string_view text, std::vector<int32_t>& out) const {
    pre_tokenizer_.split(text, [&](std::string_view piece) { bpe_.encode(piece, out); });
  }

  std::string kind_;
  std::string hash_;
  std::vector<std::string> decoded_;
  UnicodeNormalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  Bpe bpe_;
  AddedTokenMatcher added_raw_;
  AddedTokenMatcher added_normalized_;
  std::optional<int32_t> end_of_document_;
  std::optional<int32_t> begin_of_document_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_bpe_tokenizer(BpeTokenizerParts parts) {
  return std::make_unique<BpeTokenizer>(std::move(parts));
}

}  // namespace trident
