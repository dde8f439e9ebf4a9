#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trident {

/// Text to token ids and back. Immutable once loaded: every method may be called from any number of threads.
///
/// `encode` takes any byte string, valid UTF-8 or not, and adds no begin or end marker of its own.
/// `decode(encode(x)) == x` for every byte string, unless the tokenizer's own file asks for a lossy step
/// (a Unicode normalizer, add_prefix_space, a Split that removes text, an added token that strips spaces, unk_token).
class Tokenizer {
 public:
  Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  virtual ~Tokenizer() = default;

  /// The job file's name for it: "byte", "gpt2-bpe" or "huggingface".
  virtual std::string_view kind() const = 0;

  /// Largest id + 1; ids in between may be unused.
  virtual int64_t vocab_size() const = 0;

  /// Appends the ids of `text`. Throws Error where the file's split pattern exceeds its match limit or the
  /// vocabulary lacks a byte of `text`; `out` may then hold some of the ids.
  virtual void encode_append(std::string_view text, std::vector<int32_t>& out) const = 0;
  std::vector<int32_t> encode(std::string_view text) const;

  /// The bytes of `ids`, special tokens spelt out. Throws Error on an id that names no token.
  virtual std::string decode(std::span<const int32_t> ids) const = 0;

  /// What separates documents in a token stream (<|endoftext|> and its like); bytes have none.
  virtual std::optional<int32_t> end_of_document() const { return std::nullopt; }
  virtual std::optional<int32_t> begin_of_document() const { return std::nullopt; }

  /// XXH3-128, in hex, of everything that decides the ids: equal hashes give equal ids for every text.
  virtual std::string hash() const = 0;
};

/// `spec` is "byte", a folder or a file: tokenizer.json, or vocab.bpe with encoder.json beside it
/// (merges.txt with vocab.json are the same two files under Hugging Face's names).
std::unique_ptr<Tokenizer> load_tokenizer(const std::string& spec);

/// The job file's `tokenizer: {kind, path}`; `kind` is byte | gpt2-bpe | huggingface, `path` a folder or a file.
std::unique_ptr<Tokenizer> make_tokenizer(std::string_view kind, const std::string& path);

}  // namespace trident
