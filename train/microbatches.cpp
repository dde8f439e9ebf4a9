#include "train/microbatches.h"

#include <algorithm>

namespace trident {

Microbatches::Microbatches(int64_t micro_batch_size, int64_t sequence_length)
    : micro_batch_size_(micro_batch_size), sequence_length_(sequence_length) {}

void Microbatches::finish() {
  const auto full = static_cast<size_t>(micro_batch_size_ * sequence_length_);
  labels_ = 0;
  for (TokenBatch& batch : batches_) {
    batch.inputs.resize(full, 0);
    batch.labels.resize(full, masked_label);
    labels_ += std::ssize(batch.labels) - std::count(batch.labels.begin(), batch.labels.end(), masked_label);
  }
}

std::vector<Microbatch> Microbatches::views(int64_t global_labels) {
  const Shape shape{micro_batch_size_, sequence_length_};
  const double weight = global_labels > 0 ? 1.0 / static_cast<double>(global_labels) : 0.0;
  std::vector<Microbatch> views;
  for (TokenBatch& batch : batches_) {
    views.push_back({Tensor::borrow(batch.inputs.data(), shape, DType::int32),
                     Tensor::borrow(batch.labels.data(), shape, DType::int32), weight});
  }
  return views;
}

}  // namespace trident
