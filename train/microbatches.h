#pragma once

#include <algorithm>
#include <vector>

#include "core/layer.h"
#include "data/token_batch.h"

namespace trident {

/// Samples cut into a number of microbatches of one size. What is missing in the last ones is filled up with rows whose
/// labels are all masked, so that every microbatch runs the same kernels in the same memory.
class Microbatches {
 public:
  Microbatches(int64_t micro_batch_size, int64_t sequence_length);

  /// Takes `samples` samples, which `fill(batch, first, count)` provides, counted from 0, into `microbatches`.
  template <class Fill>
  void load(int64_t microbatches, int64_t samples, Fill fill) {
    batches_.resize(static_cast<size_t>(microbatches));
    for (int64_t i = 0; i < microbatches; ++i) {
      const int64_t first = std::min(samples, i * micro_batch_size_);
      fill(batches_[static_cast<size_t>(i)], first, std::min(micro_batch_size_, samples - first));
    }
    finish();
  }

  /// Unmasked labels of these microbatches.
  [[nodiscard]] int64_t labels() const { return labels_; }
  /// On the stream's device, for a global batch with so many unmasked labels: the loss is the mean over them. Valid
  /// until the next load, which must not come before the stream is done with them.
  [[nodiscard]] std::vector<Microbatch> views(const Stream& stream, int64_t global_labels);

 private:
  void finish();
  [[nodiscard]] std::vector<Microbatch> views_on_device(const Stream& stream, double weight);

  int64_t micro_batch_size_;
  int64_t sequence_length_;
  int64_t labels_ = 0;
  std::vector<TokenBatch> batches_;
  Tensor pinned_, on_device_;  // of a GPU: [microbatches, inputs or labels, batch, sequence]
};

}  // namespace trident
