#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "data/token_dtype.h"

namespace trident {

class AtomicFile;

/// Writes PREFIX.bin/.idx byte for byte as Megatron's preprocess_data.py does without sentence splitting: one sequence
/// per document, an empty document as an entry of the document index without a sequence. Streams: memory is 12 bytes
/// per document. Nothing appears under the final names before finish(); without it the destructor leaves no file
/// behind.
class IndexedDatasetWriter {
 public:
  /// Throws Error where PREFIX.bin cannot be created. `max_sequence_tokens` cuts a longer document into several
  /// sequences, as the format holds lengths in 32 bits.
  IndexedDatasetWriter(const std::string& prefix, TokenDType dtype, int64_t max_sequence_tokens = 0x7fffffff);
  ~IndexedDatasetWriter();
  IndexedDatasetWriter(const IndexedDatasetWriter&) = delete;
  IndexedDatasetWriter& operator=(const IndexedDatasetWriter&) = delete;

  /// Appends to the current document; a document may come in any number of pieces. Throws Error for a token that the
  /// dtype cannot hold and where the disk is full.
  void append(std::span<const int32_t> tokens);
  void end_document();

  /// Ends the last document if it is open, writes the index and gives both files their names. Call once.
  void finish();

  int64_t tokens() const { return tokens_; }
  int64_t documents() const { return static_cast<int64_t>(document_index_.size()) - 1; }

 private:
  void close_sequence();
  void write_index();

  std::string prefix_;
  TokenDType dtype_;
  int64_t max_sequence_tokens_;
  std::unique_ptr<AtomicFile> bin_;
  std::vector<int32_t> lengths_;
  std::vector<int64_t> document_index_{0};
  std::vector<std::byte> staged_;
  int64_t open_tokens_ = 0;  // tokens of the sequence being written
  bool document_open_ = false;
  int64_t tokens_ = 0;
};

}  // namespace trident
