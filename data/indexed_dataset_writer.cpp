#include "data/indexed_dataset_writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>

#include "core/atomic_file.h"
#include "core/error.h"

namespace trident {
namespace {

constexpr const char* component = "data/indexed_dataset_writer";

template <class Stored>
void stage_as(std::span<const int32_t> tokens, std::vector<std::byte>& staged) {
  staged.resize(tokens.size() * sizeof(Stored));
  std::byte* out = staged.data();
  for (const int32_t token : tokens) {
    if (token < 0 || static_cast<int64_t>(token) > static_cast<int64_t>(std::numeric_limits<Stored>::max())) {
      throw Error(ErrorCode::bad_data, component, fmt::format("token {} does not fit the data set's dtype", token),
                  "the tokenizer gives ids outside its own vocabulary");
    }
    const auto stored = static_cast<Stored>(token);
    std::memcpy(out, &stored, sizeof stored);
    out += sizeof stored;
  }
}

void stage(TokenDType dtype, std::span<const int32_t> tokens, std::vector<std::byte>& staged) {
  switch (dtype) {
    case TokenDType::uint8: return stage_as<uint8_t>(tokens, staged);
    case TokenDType::int8: return stage_as<int8_t>(tokens, staged);
    case TokenDType::int16: return stage_as<int16_t>(tokens, staged);
    case TokenDType::int32: return stage_as<int32_t>(tokens, staged);
    case TokenDType::int64: return stage_as<int64_t>(tokens, staged);
    case TokenDType::uint16: return stage_as<uint16_t>(tokens, staged);
  }
}

template <class T>
void write_value(AtomicFile& file, T value) {
  file.write(std::as_bytes(std::span(&value, 1)));
}

}  // namespace

IndexedDatasetWriter::IndexedDatasetWriter(const std::string& prefix, TokenDType dtype, int64_t max_sequence_tokens)
    : prefix_(prefix),
      dtype_(dtype),
      max_sequence_tokens_(max_sequence_tokens),
      bin_(std::make_unique<AtomicFile>(prefix + ".bin")) {
  TRIDENT_CHECK(max_sequence_tokens > 0 && max_sequence_tokens <= std::numeric_limits<int32_t>::max());
}

IndexedDatasetWriter::~IndexedDatasetWriter() = default;

void IndexedDatasetWriter::append(std::span<const int32_t> tokens) {
  document_open_ = true;
  while (!tokens.empty()) {
    if (open_tokens_ == max_sequence_tokens_) close_sequence();
    const auto room = static_cast<size_t>(max_sequence_tokens_ - open_tokens_);
    const auto piece = tokens.first(std::min({tokens.size(), room, size_t{1} << 16}));
    stage(dtype_, piece, staged_);
    bin_->write(staged_);
    open_tokens_ += static_cast<int64_t>(piece.size());
    tokens_ += static_cast<int64_t>(piece.size());
    tokens = tokens.subspan(piece.size());
  }
}

void IndexedDatasetWriter::close_sequence() {
  if (open_tokens_ > 0) lengths_.push_back(static_cast<int32_t>(open_tokens_));
  open_tokens_ = 0;
}

void IndexedDatasetWriter::end_document() {
  close_sequence();
  document_index_.push_back(static_cast<int64_t>(lengths_.size()));
  document_open_ = false;
}

void IndexedDatasetWriter::finish() {
  TRIDENT_CHECK(bin_ != nullptr, "finished twice");
  if (document_open_) end_document();
  bin_->flush();
  write_index();
  bin_.reset();
}

void IndexedDatasetWriter::write_index() {
  const std::string idx_path = prefix_ + ".idx";
  AtomicFile idx(idx_path);
  idx.write(std::as_bytes(std::span("MMIDIDX\0", 9)));  // with the literal's own terminator: two zero bytes
  write_value<uint64_t>(idx, 1);
  write_value<uint8_t>(idx, static_cast<uint8_t>(dtype_));
  write_value<uint64_t>(idx, lengths_.size());
  write_value<uint64_t>(idx, document_index_.size());
  idx.write(std::as_bytes(std::span(lengths_)));
  int64_t pointer = 0;
  for (const int32_t length : lengths_) {
    write_value<int64_t>(idx, pointer);
    pointer += length * token_dtype_size(dtype_);
  }
  idx.write(std::as_bytes(std::span(document_index_)));
  idx.flush();
  // An older index must never stand beside the new tokens, however this process ends.
  if (::unlink(idx_path.c_str()) != 0 && errno != ENOENT)
    throw system_error(errno, component, "cannot replace " + idx_path);
  bin_->commit();
  idx.commit();
}

}  // namespace trident
