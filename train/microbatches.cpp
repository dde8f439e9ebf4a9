#include "train/microbatches.h"

#include <algorithm>

#include "core/memory.h"

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

std::vector<Microbatch> Microbatches::views(const Stream& stream, int64_t global_labels) {
  const Shape shape{micro_batch_size_, sequence_length_};
  const double weight = global_labels > 0 ? 1.0 / static_cast<double>(global_labels) : 0.0;
  if (stream.device().kind == DeviceKind::cuda) return views_on_device(stream, weight);
  std::vector<Microbatch> views;
  for (TokenBatch& batch : batches_) {
    views.push_back({Tensor::borrow(batch.inputs.data(), shape, DType::int32),
                     Tensor::borrow(batch.labels.data(), shape, DType::int32), weight});
  }
  return views;
}

std::vector<Microbatch> Microbatches::views_on_device(const Stream& stream, double weight) {
  const Shape shape{micro_batch_size_, sequence_length_}, all{2 * std::ssize(batches_) * shape.elements()};
  if (!on_device_.defined() || on_device_.elements() < all.elements()) {
    pinned_ = Tensor(allocate_pinned(static_cast<size_t>(all.elements()) * sizeof(int32_t)), 0, all, DType::int32);
    on_device_ = allocate_zeroed(stream.device(), all, DType::int32);
  }
  std::vector<Microbatch> views;
  auto* out = pinned_.data<int32_t>();
  for (const TokenBatch& batch : batches_) {
    const int64_t first = out - pinned_.data<int32_t>();
    out = std::copy(batch.inputs.begin(), batch.inputs.end(), out);
    out = std::copy(batch.labels.begin(), batch.labels.end(), out);
    views.push_back(
        {on_device_.flat_view(first, shape), on_device_.flat_view(first + shape.elements(), shape), weight});
  }
  copy(stream, pinned_.flat_view(0, all), on_device_.flat_view(0, all));
  return views;
}

}  // namespace trident
