#pragma once

#include <algorithm>
#include <vector>

#include "core/layer.h"
#include "data/token_batch.h"

namespace trident {

/// Samples cut into microbatches of one size. A short last one is filled up with rows whose labels are all masked, so
/// that every microbatch runs the same kernels in the same memory.
class Microbatches {
 public:
  Microbatches(int64_t micro_batch_size, int64_t sequence_length);

  /// Takes `samples` samples, which `fill(batch, first, count)` provides, counted from 0.
  template <class Fill>
  void load(int64_t samples, Fill fill) {
    resize(samples);
    for (int64_t i = 0; i < size(); ++i) {
      const int64_t first = i * micro_batch_size_;
      fill(batches_[static_cast<size_t>(i)], first, std::min(micro_batch_size_, samples - first));
    }
    finish();
  }

  [[nodiscard]] int64_t size() const { return used_; }
  /// Unmasked labels of all microbatches: the loss is the mean over them.
  [[nodiscard]] int64_t labels() const { return labels_; }
  /// Valid until the next load.
  [[nodiscard]] Microbatch operator[](int64_t index);

 private:
  void resize(int64_t samples);
  void finish();

  int64_t micro_batch_size_;
  int64_t sequence_length_;
  int64_t used_ = 0;
  int64_t labels_ = 0;
  std::vector<TokenBatch> batches_;
};

}  // namespace trident
