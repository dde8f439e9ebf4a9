#include "data/token_batch.h"

#include <algorithm>

#include "core/error.h"
#include "data/indexed_dataset.h"

namespace trident {

void TokenBatch::reset(int64_t rows, int64_t length) {
  TRIDENT_CHECK(rows >= 0 && length > 0);
  batch_size = rows;
  sequence_length = length;
  inputs.resize(static_cast<size_t>(rows * length));
  labels.resize(static_cast<size_t>(rows * length));
  all_document_ends.clear();
  row_ends.assign(1, 0);
  filled_rows_ = 0;
}

void TokenBatch::add_row(const IndexedDataset& data, int64_t first_token) {
  TRIDENT_CHECK(filled_rows_ < batch_size && first_token >= 0);
  const auto length = static_cast<size_t>(sequence_length);
  const auto offset = static_cast<size_t>(filled_rows_++) * length;
  const auto input_row = std::span(inputs).subspan(offset, length);
  const auto label_row = std::span(labels).subspan(offset, length);

  // Labels are tokens 1 … L of the sample; input i+1 is label i.
  const int64_t left = data.tokens() - first_token - 1;
  const auto labelled = static_cast<size_t>(std::clamp<int64_t>(left, 0, sequence_length));
  std::fill(input_row.begin(), input_row.end(), 0);
  std::fill(label_row.begin(), label_row.end(), masked_label);
  if (labelled > 0) {
    data.read(first_token, input_row.first(labelled));
    std::copy_n(input_row.begin() + 1, labelled - 1, label_row.begin());
    data.read(first_token + static_cast<int64_t>(labelled), label_row.subspan(labelled - 1, 1));
    const size_t before = all_document_ends.size();
    data.document_ends(first_token, first_token + static_cast<int64_t>(labelled), all_document_ends);
    for (size_t i = before; i < all_document_ends.size(); ++i) all_document_ends[i] -= first_token;
  }
  row_ends.push_back(static_cast<int64_t>(all_document_ends.size()));
}

}  // namespace trident
