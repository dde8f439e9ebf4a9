#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/added_tokens.h"
#include "data/bpe.h"
#include "data/bpe_vocabulary.h"
#include "data/pre_tokenizer.h"
#include "data/tokenizer.h"
#include "data/unicode_normalizer.h"

namespace trident {

/// What the files of a byte-level BPE tokenizer say. Text goes through these from top to bottom.
struct BpeTokenizerParts {
  std::string kind;
  std::vector<AddedToken> added_tokens;
  UnicodeNormalizer normalizer;
  PreTokenizer pre_tokenizer;
  std::string pre_tokenizer_text;  ///< spells the pre-tokenizer out, for the hash
  BpeVocabulary vocabulary;
  BpeOptions options;
  std::optional<int32_t> end_of_document;
  std::optional<int32_t> begin_of_document;
};

/// Bytes that are not UTF-8 pass by normalizer, added tokens and splits: each run of them is a piece of its own.
std::unique_ptr<Tokenizer> make_bpe_tokenizer(BpeTokenizerParts parts);

}  // namespace trident
