#pragma once

#include <cstdint>
#include <string>

#include "core/mapped_file.h"
#include "data/token_dtype.h"

namespace trident {

/// A Megatron .idx file, little-endian and unaligned:
///   "MMIDIDX\0\0" · u64 version 1 · u8 dtype · u64 sequences · u64 entries of the document index (documents + 1) ·
///   i32 length per sequence (tokens) · i64 pointer per sequence (bytes into .bin) · i64 document index (sequences).
/// Everything is checked on construction; afterwards every accessor stays inside the mapped files.
class MegatronIndex {
 public:
  static constexpr int64_t header_bytes = 34;

  /// Throws Error with file, byte offset and reason unless the index is whole, consistent with itself and describes
  /// exactly `bin_bytes` bytes. Sequences must lie in the .bin one after another, as every Megatron writer lays them.
  MegatronIndex(const std::string& idx_path, int64_t bin_bytes);

  TokenDType dtype() const { return dtype_; }
  int64_t sequences() const { return sequences_; }
  int64_t documents() const { return documents_; }
  int64_t tokens() const { return tokens_; }

  /// Position in the token stream just after the last token of `document`, which must be below documents().
  int64_t document_end(int64_t document) const;

 private:
  void read_header();
  void check_file_size() const;
  void check_sequences(int64_t bin_bytes);
  void check_documents() const;
  [[noreturn]] void refuse(int64_t offset, const std::string& reason, const std::string& remedy = {}) const;

  int64_t lengths_offset() const { return header_bytes; }
  int64_t pointers_offset() const { return lengths_offset() + 4 * sequences_; }
  int64_t document_index_offset() const { return pointers_offset() + 8 * sequences_; }

  std::string path_;
  MappedFile file_;
  TokenDType dtype_ = TokenDType::uint16;
  int64_t sequences_ = 0;
  int64_t documents_ = 0;
  int64_t tokens_ = 0;
};

}  // namespace trident
