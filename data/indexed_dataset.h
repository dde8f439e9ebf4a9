#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/mapped_file.h"
#include "data/megatron_index.h"
#include "data/token_dtype.h"

namespace trident {

/// A data set on disk as one stream of tokens: all sequences in file order, one after another, plus document ends.
/// Reads Megatron's PREFIX.bin/.idx, and nanoGPT's raw little-endian uint16 .bin, which has no index.
/// Memory-mapped and immutable: any number of threads may read at once.
class IndexedDataset {
 public:
  /// `path` is PREFIX, PREFIX.bin or PREFIX.idx. A .bin without an .idx beside it is read as raw uint16, as one
  /// document. Throws Error where a file is missing or malformed. Tokens must be below `vocab_size`; checked when read.
  explicit IndexedDataset(const std::string& path, int64_t vocab_size = int64_t{1} << 31);

  int64_t tokens() const { return tokens_; }
  int64_t documents() const { return index_ ? index_->documents() : 1; }
  TokenDType dtype() const { return dtype_; }
  const std::string& bin_path() const { return bin_path_; }

  /// Copies tokens [begin, begin + out.size()), which must lie inside the stream. Throws Error with file, byte offset
  /// and value where a token is negative or not below the vocabulary size.
  void read(int64_t begin, std::span<int32_t> out) const;

  /// Appends every position p in (begin, end] where a document ends just before token p, ascending and without repeats.
  void document_ends(int64_t begin, int64_t end, std::vector<int64_t>& out) const;

  void advise(MappedFile::Access access) const { bin_.advise(access); }

 private:
  template <class Stored>
  void read_as(int64_t begin, std::span<int32_t> out) const;
  [[noreturn]] void refuse_token(int64_t position, int64_t value) const;

  std::string bin_path_;
  MappedFile bin_;
  std::optional<MegatronIndex> index_;  // empty for raw uint16
  TokenDType dtype_ = TokenDType::uint16;
  int64_t vocab_size_ = 0;
  int64_t tokens_ = 0;
};

}  // namespace trident
