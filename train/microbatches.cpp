#include "train/microbatches.h"

#include <algorithm>

namespace trident {

Microbatches::Microbatches(int64_t micro_batch_size, int64_t sequence_length)
    : micro_batch_size_(micro_batch_size), sequence_length_(sequence_length) {}

void Microbatches::resize(int64_t samples) {
  used_ = (samples + micro_batch_size_ - 1) / micro_batch_size_;
  batches_.resize(std::max(batches_.size(), static_cast<size_t>(used_)));
}

void Microbatches::finish() {
  const auto full = static_cast<size_t>(micro_batch_size_ * sequence_length_);
  labels_ = 0;
  for (int64_t i = 0; i < used_; ++i) {
    TokenBatch& batch = batches_[static_cast<size_t>(i)];
    batch.inputs.resize(full, 0);
    batch.labels.resize(full, masked_label);
    labels_ += std::ssize(batch.labels) - std::count(batch.labels.begin(), batch.labels.end(), masked_label);
  }
}

Microbatch Microbatches::operator[](int64_t index) {
  TRIDENT_CHECK(index >= 0 && index < used_);
  TokenBatch& batch = batches_[static_cast<size_t>(index)];
  const Shape shape{micro_batch_size_, sequence_length_};
  return {Tensor::borrow(batch.inputs.data(), shape, DType::int32),
          Tensor::borrow(batch.labels.data(), shape, DType::int32),
          labels_ > 0 ? 1.0 / static_cast<double>(labels_) : 0.0};
}

}  // namespace trident
