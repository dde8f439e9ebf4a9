#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace trident {

class IndexedDataset;

/// Label of a position that does not count in the loss.
inline constexpr int32_t masked_label = -1;

/// Samples of one microbatch. Row b is a sample of L+1 tokens: inputs its first L, labels its last L.
/// Reuse one batch from step to step: refilling allocates nothing.
struct TokenBatch {
  int64_t batch_size = 0;
  int64_t sequence_length = 0;
  std::vector<int32_t> inputs;  ///< batch_size × sequence_length
  std::vector<int32_t> labels;  ///< likewise; masked_label where a position does not count

  /// Where documents end inside row b: every p in 1 … L such that the row's token p-1 is the last of its document and
  /// token p (a label, and an input below L) starts the next. Nothing is masked there; a model may choose to.
  std::span<const int64_t> document_ends(int64_t row) const {
    const auto first = static_cast<size_t>(row_ends[static_cast<size_t>(row)]);
    const auto last = static_cast<size_t>(row_ends[static_cast<size_t>(row) + 1]);
    return std::span(all_document_ends).subspan(first, last - first);
  }

  std::vector<int64_t> all_document_ends;  ///< of all rows, one after another
  std::vector<int64_t> row_ends;           ///< batch_size + 1 positions in all_document_ends

  /// Starts a batch of `rows` samples of `length`, keeping memory. Rows are then added in order.
  void reset(int64_t rows, int64_t length);

  /// Adds the sample that starts at `first_token`. Of its L+1 tokens the data set may lack some at its end: what is
  /// missing is input 0 under a masked label.
  void add_row(const IndexedDataset& data, int64_t first_token);

 private:
  int64_t filled_rows_ = 0;
};

}  // namespace trident
