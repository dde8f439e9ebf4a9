#include "data/megatron_index.h"

#include <fmt/format.h>

#include <cstring>
#include <string_view>

#include "core/error.h"

namespace trident {
namespace {

constexpr std::string_view magic("MMIDIDX\0\0", 9);

template <class T>
T load(const MappedFile& file, int64_t offset) {
  T value;
  std::memcpy(&value, file.data() + offset, sizeof value);
  return value;
}

}  // namespace

MegatronIndex::MegatronIndex(const std::string& idx_path, int64_t bin_bytes) : path_(idx_path), file_(idx_path) {
  read_header();
  check_file_size();
  check_sequences(bin_bytes);
  check_documents();
  file_.advise(MappedFile::Access::random);
}

void MegatronIndex::refuse(int64_t offset, const std::string& reason, const std::string& remedy) const {
  throw Error(ErrorCode::bad_data, "data/indexed_dataset", fmt::format("{}, byte {}: {}", path_, offset, reason),
              remedy.empty() ? "make the data set again with `trident tokenize`" : remedy);
}

void MegatronIndex::read_header() {
  for (size_t i = 0; i < magic.size() && static_cast<int64_t>(i) < file_.size(); ++i) {
    if (static_cast<char>(file_.data()[i]) != magic[i]) {
      refuse(static_cast<int64_t>(i), "the file does not start with MMIDIDX; this is no Megatron index");
    }
  }
  if (file_.size() < header_bytes) {
    refuse(file_.size(), fmt::format("the file ends inside its header of {} bytes", header_bytes));
  }
  const auto version = load<uint64_t>(file_, 9);
  if (version != 1) refuse(9, fmt::format("version is {}, expected 1", version));
  const auto code = load<uint8_t>(file_, 17);
  if (code == 6 || code == 7) {
    refuse(17, fmt::format("dtype code {} is float{}, which holds no token ids", code, code == 6 ? 64 : 32));
  }
  const auto dtype = token_dtype_from_code(code);
  if (!dtype) refuse(17, fmt::format("dtype code is {}, expected 1, 2, 3, 4, 5 or 8", code));
  dtype_ = *dtype;
  // Checked against the file's size before they become signed, so that no later sum can overflow.
  const auto sequences = load<uint64_t>(file_, 18);
  const auto entries = load<uint64_t>(file_, 26);
  const auto limit = static_cast<uint64_t>(file_.size());
  if (sequences > limit / 12) {
    refuse(18, fmt::format("{} sequences do not fit in a file of {} bytes", sequences, limit));
  }
  if (entries > limit / 8) {
    refuse(26, fmt::format("{} document index entries do not fit in a file of {} bytes", entries, limit));
  }
  if (entries == 0) refuse(26, "the document index is empty, expected at least its leading 0");
  sequences_ = static_cast<int64_t>(sequences);
  documents_ = static_cast<int64_t>(entries) - 1;
}

void MegatronIndex::check_file_size() const {
  const int64_t expected = document_index_offset() + 8 * (documents_ + 1);
  if (file_.size() == expected) return;
  const auto counts = fmt::format("{} sequences and {} document index entries", sequences_, documents_ + 1);
  if (file_.size() == expected + sequences_) {
    refuse(expected, "a mode per sequence follows: this is a multimodal data set",
           "multimodal data sets are not supported; write the text sequences alone");
  }
  if (file_.size() < expected) {
    refuse(file_.size(), fmt::format("the file ends here, but {} need {} bytes", counts, expected));
  }
  refuse(expected, fmt::format("{} bytes follow the end that {} give", file_.size() - expected, counts));
}

void MegatronIndex::check_sequences(int64_t bin_bytes) {
  file_.advise(MappedFile::Access::sequential);
  const int64_t item = token_dtype_size(dtype_);
  int64_t position = 0;  // bytes into the .bin; never above bin_bytes, so it cannot overflow
  for (int64_t i = 0; i < sequences_; ++i) {
    const int64_t length = load<int32_t>(file_, lengths_offset() + 4 * i);
    const auto pointer = load<int64_t>(file_, pointers_offset() + 8 * i);
    if (length < 0) refuse(lengths_offset() + 4 * i, fmt::format("length of sequence {} is {}", i, length));
    if (pointer != position) {
      refuse(pointers_offset() + 8 * i,
             fmt::format("pointer of sequence {} is {}, expected {} from the lengths before it", i, pointer, position));
    }
    if (length > (bin_bytes - position) / item) {
      refuse(lengths_offset() + 4 * i,
             fmt::format("sequence {} has {} {} tokens at byte {} of the .bin, which has only {} bytes", i, length,
                         token_dtype_name(dtype_), position, bin_bytes),
             "the .bin is truncated or belongs to another index");
    }
    position += length * item;
  }
  if (position != bin_bytes) {
    refuse(lengths_offset(), fmt::format("the lengths describe {} bytes, but the .bin has {}", position, bin_bytes),
           "the .bin belongs to another index, or its index was written for another dtype");
  }
  tokens_ = position / item;
}

void MegatronIndex::check_documents() const {
  int64_t previous = 0;
  for (int64_t i = 0; i <= documents_; ++i) {
    const int64_t offset = document_index_offset() + 8 * i;
    const auto entry = load<int64_t>(file_, offset);
    if (i == 0 && entry != 0) refuse(offset, fmt::format("the document index starts at {}, expected 0", entry));
    if (entry < previous) {
      refuse(offset, fmt::format("entry {} of the document index is {}, below the {} before it", i, entry, previous));
    }
    if (entry > sequences_) {
      refuse(offset, fmt::format("entry {} of the document index is {} of {} sequences", i, entry, sequences_));
    }
    previous = entry;
  }
  if (previous != sequences_) {
    refuse(document_index_offset() + 8 * documents_,
           fmt::format("the document index ends at {}, expected the number of sequences, {}", previous, sequences_));
  }
}

int64_t MegatronIndex::document_end(int64_t document) const {
  TRIDENT_CHECK(document >= 0 && document < documents_);
  const auto sequence = load<int64_t>(file_, document_index_offset() + 8 * (document + 1));
  if (sequence == sequences_) return tokens_;
  return load<int64_t>(file_, pointers_offset() + 8 * sequence) / token_dtype_size(dtype_);
}

}  // namespace trident
