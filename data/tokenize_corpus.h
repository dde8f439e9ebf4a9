#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace trident {

/// What tokenizing needs of a tokenizer. `encode_append` is called by several threads at once.
struct CorpusEncoder {
  std::function<void(std::string_view text, std::vector<int32_t>& ids)> encode_append;
  int64_t vocab_size = 0;
  std::optional<int32_t> end_of_document;
  /// Every byte is encoded on its own, so that text may be cut anywhere.
  bool cut_anywhere = false;
};

class Tokenizer;

/// The encoder of a tokenizer, which must outlive it.
CorpusEncoder corpus_encoder(const Tokenizer& tokenizer);

struct TokenizeCorpusOptions {
  std::vector<std::string> inputs;  ///< plain text, one document per file; .jsonl and .json, one per line
  std::string out_prefix;           ///< PREFIX.bin and PREFIX.idx
  std::string json_key = "text";
  bool append_end_of_document = true;  ///< where the tokenizer has such a token and the document is not empty
  double validation_fraction = 0;      ///< the last part of the bytes goes to PREFIX-val instead
  int threads = 0;                     ///< 0: one per core
  int64_t chunk_bytes = int64_t{1} << 20;
  bool progress = true;
};

struct TokenizeCorpusResult {
  int64_t documents = 0;  ///< of both parts together, as are tokens and bytes
  int64_t tokens = 0;
  int64_t bytes = 0;
  int64_t validation_documents = 0;
  int64_t validation_tokens = 0;
  double seconds = 0;
};

/// Tokenizes a corpus of any size into a Megatron data set. Its bytes depend on the inputs and their order alone, not
/// on threads or chunks. Throws Error, leaving no output, where an input is missing or malformed or the disk is full.
TokenizeCorpusResult tokenize_corpus(const TokenizeCorpusOptions& options, const CorpusEncoder& encoder);

}  // namespace trident
