#include "train/flat_weights.h"

#include <algorithm>

#include "checkpoint/digest.h"
#include "core/error.h"
#include "train/saved_state.h"

namespace trident {
namespace {

// Elements of a band, unless one row has more.
constexpr int64_t kElementsAtOnce = int64_t{1} << 20;
constexpr int64_t kSize = sizeof(float);

}  // namespace

FlatWeights::FlatWeights(const HuggingFaceReader& weights)
    : weights_(weights), tensors_(logical_tensors(weights.config())), digests_(tensors_.size()) {
  for (size_t i = 0; i < tensors_.size(); ++i) {
    segments_.push_back({static_cast<int32_t>(i), whole_block(tensors_[i].shape), elements_});
    elements_ += segments_.back().block.elements();
  }
}

void FlatWeights::load_band_with(int64_t element) {
  const auto next = std::upper_bound(segments_.begin(), segments_.end(), element,
                                     [](int64_t at, const Segment& segment) { return at < segment.offset; });
  const auto& [tensor, whole, offset] = *std::prev(next);
  const auto number = static_cast<size_t>(tensor);
  const int64_t row0 = (element - offset) / whole.columns;
  const int64_t rows = std::min(std::max<int64_t>(1, kElementsAtOnce / whole.columns), whole.rows - row0);
  band_.resize(static_cast<size_t>(rows * whole.columns));
  weights_.read(tensors_[number].name, row0, rows, std::span(band_));
  band_begin_ = offset + row0 * whole.columns;
  if (band_begin_ != digested_) return;
  digested_ += std::ssize(band_);
  digests_[number][static_cast<size_t>(StateKind::master)] +=
      digest_of(std::as_bytes(std::span(band_)), DType::fp32, {row0, rows, 0, whole.columns}, whole.columns);
}

std::span<const std::byte> FlatWeights::bytes(int64_t begin, int64_t count) {
  TRIDENT_CHECK(begin >= 0 && count > 0 && begin < elements_ * kSize);
  const int64_t element = begin / kSize;
  if (element < band_begin_ || element >= band_begin_ + std::ssize(band_)) load_band_with(element);
  const auto band = std::as_bytes(std::span(band_)).subspan(static_cast<size_t>(begin - band_begin_ * kSize));
  return band.first(std::min(band.size(), static_cast<size_t>(count)));
}

std::vector<TensorDigest> FlatWeights::digests() const {
  TRIDENT_CHECK(digested_ == elements_, "all of the array was read");
  return digests_;
}

}  // namespace trident
