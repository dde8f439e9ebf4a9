#include "data/indexed_dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <filesystem>

#include "core/error.h"

namespace trident {
namespace {

static_assert(std::endian::native == std::endian::little, "token files are little-endian and read in place");

constexpr const char* component = "data/indexed_dataset";

bool exists(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(path, ignored);
}

std::string prefix_of(const std::string& path) {
  return path.ends_with(".bin") || path.ends_with(".idx") ? path.substr(0, path.size() - 4) : path;
}

}  // namespace

IndexedDataset::IndexedDataset(const std::string& path, int64_t vocab_size) : vocab_size_(vocab_size) {
  TRIDENT_CHECK(vocab_size > 0 && vocab_size <= int64_t{1} << 31, "token ids are int32");
  const std::string prefix = prefix_of(path);
  const std::string idx_path = prefix + ".idx";
  const bool has_index = exists(idx_path);
  bin_path_ = prefix + ".bin";
  if (!has_index && !path.ends_with(".bin")) {
    throw Error(ErrorCode::input_missing, component, idx_path + ": no such file",
                exists(bin_path_) ? "give " + bin_path_ + " itself if it holds raw uint16 tokens"
                                  : "make it with `trident tokenize … --out " + prefix + "`");
  }
  bin_ = MappedFile(bin_path_);
  if (has_index) {
    index_.emplace(idx_path, bin_.size());
    dtype_ = index_->dtype();
    tokens_ = index_->tokens();
  } else {
    if (bin_.size() % 2 != 0) {
      throw Error(ErrorCode::bad_data, component,
                  fmt::format("{}, byte {}: raw uint16 tokens end inside a token", bin_path_, bin_.size() - 1),
                  "put the .idx beside it if this is a Megatron data set");
    }
    tokens_ = bin_.size() / 2;
  }
}

void IndexedDataset::read(int64_t begin, std::span<int32_t> out) const {
  const auto count = static_cast<int64_t>(out.size());
  TRIDENT_CHECK(begin >= 0 && count <= tokens_ && begin <= tokens_ - count, bin_path_);
  switch (dtype_) {
    case TokenDType::uint8: return read_as<uint8_t>(begin, out);
    case TokenDType::int8: return read_as<int8_t>(begin, out);
    case TokenDType::int16: return read_as<int16_t>(begin, out);
    case TokenDType::int32: return read_as<int32_t>(begin, out);
    case TokenDType::int64: return read_as<int64_t>(begin, out);
    case TokenDType::uint16: return read_as<uint16_t>(begin, out);
  }
}

template <class Stored>
void IndexedDataset::read_as(int64_t begin, std::span<int32_t> out) const {
  const std::byte* source = bin_.data() + begin * static_cast<int64_t>(sizeof(Stored));
  const auto limit = static_cast<uint64_t>(vocab_size_);
  bool bad = false;
  for (size_t i = 0; i < out.size(); ++i) {
    Stored value;
    std::memcpy(&value, source + i * sizeof(Stored), sizeof(Stored));
    const auto wide = static_cast<int64_t>(value);
    bad |= static_cast<uint64_t>(wide) >= limit;  // a negative value is huge as unsigned
    out[i] = static_cast<int32_t>(wide);
  }
  if (!bad) return;
  for (size_t i = 0; i < out.size(); ++i) {
    Stored value;
    std::memcpy(&value, source + i * sizeof(Stored), sizeof(Stored));
    const auto wide = static_cast<int64_t>(value);
    if (static_cast<uint64_t>(wide) >= limit) refuse_token(begin + static_cast<int64_t>(i), wide);
  }
}

void IndexedDataset::refuse_token(int64_t position, int64_t value) const {
  throw Error(ErrorCode::bad_data, component,
              fmt::format("{}, byte {}: token {} is {}, expected 0 to {}", bin_path_,
                          position * token_dtype_size(dtype_), position, value, vocab_size_ - 1),
              "check that the data set was made with the job's tokenizer and that model.vocab_size covers it");
}

void IndexedDataset::document_ends(int64_t begin, int64_t end, std::vector<int64_t>& out) const {
  if (!index_) {
    if (begin < tokens_ && tokens_ <= end) out.push_back(tokens_);
    return;
  }
  // First document that ends after `begin`: ends ascend, so halve the range of documents.
  int64_t low = 0;
  int64_t high = index_->documents();
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (index_->document_end(middle) > begin) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  int64_t previous = begin;
  for (; low < index_->documents(); ++low) {
    const int64_t position = index_->document_end(low);
    if (position > end) break;
    if (position > previous) out.push_back(position);  // an empty document ends where the one before it did
    previous = position;
  }
}

}  // namespace trident
