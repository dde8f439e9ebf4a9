#include "data/validation_data.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"

namespace trident {

ValidationData::ValidationData(const std::string& path, int64_t sequence_length, int64_t vocab_size)
    : data_(path, vocab_size), sequence_length_(sequence_length) {
  TRIDENT_CHECK(sequence_length > 0 && sequence_length < int64_t{1} << 31);
  if (data_.tokens() < 2) {
    throw Error(ErrorCode::bad_data, "data/validation_data",
                fmt::format("{} has {} tokens, but a loss needs at least 2", data_.bin_path(), data_.tokens()),
                "give a larger data set");
  }
  windows_ = (labels() + sequence_length - 1) / sequence_length;
  data_.advise(MappedFile::Access::sequential);
}

void ValidationData::fill(TokenBatch& batch, int64_t first_window, int64_t count) const {
  TRIDENT_CHECK(first_window >= 0 && count >= 0);
  batch.reset(count, sequence_length_);
  for (int64_t row = 0; row < count; ++row) {
    const int64_t window = std::min(first_window + row, windows_);
    batch.add_row(data_, window * sequence_length_);
  }
}

}  // namespace trident
