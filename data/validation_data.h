#pragma once

#include <cstdint>
#include <string>

#include "data/indexed_dataset.h"
#include "data/token_batch.h"

namespace trident {

/// A data set swept once in file order. Window i has inputs [i·L, i·L+L) and labels [i·L+1, i·L+L], so that every token
/// but the first is a label exactly once; labels beyond the end are masked. The mean loss over all windows, weighted by
/// unmasked labels, is therefore the data set's own, whatever the batch size.
class ValidationData {
 public:
  /// Throws Error where the data set is malformed or has fewer than two tokens.
  ValidationData(const std::string& path, int64_t sequence_length, int64_t vocab_size);

  int64_t windows() const { return windows_; }
  /// Labels that all windows hold together.
  int64_t labels() const { return data_.tokens() - 1; }
  int64_t sequence_length() const { return sequence_length_; }

  /// Windows first_window … first_window + count − 1; rows from windows() on are wholly masked.
  void fill(TokenBatch& batch, int64_t first_window, int64_t count) const;

 private:
  IndexedDataset data_;
  int64_t sequence_length_;
  int64_t windows_;
};

}  // namespace trident
