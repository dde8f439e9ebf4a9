#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "checkpoint/huggingface.h"
#include "checkpoint/manifest.h"

namespace trident {

/// The weights of a Hugging Face directory as one flat fp32 array, tensor behind tensor, as a rank's checkpoint file
/// holds them. Read in bands of rows as they are asked for; memory is one band.
class FlatWeights {
 public:
  /// `weights` outlives this.
  explicit FlatWeights(const HuggingFaceReader& weights);

  [[nodiscard]] const std::vector<LogicalTensor>& tensors() const { return tensors_; }
  [[nodiscard]] const std::vector<Segment>& segments() const { return segments_; }
  [[nodiscard]] int64_t elements() const { return elements_; }

  /// Bytes of the array from byte `begin` on: at least one, at most `count`. Valid until the next call.
  [[nodiscard]] std::span<const std::byte> bytes(int64_t begin, int64_t count);
  /// Of the master weights, by tensor. Once the array was read from its begin to its end.
  [[nodiscard]] std::vector<TensorDigest> digests() const;

 private:
  void load_band_with(int64_t element);

  const HuggingFaceReader& weights_;
  std::vector<LogicalTensor> tensors_;
  std::vector<Segment> segments_;
  std::vector<TensorDigest> digests_;
  int64_t elements_ = 0;
  int64_t digested_ = 0;  // elements before it are in the digests
  int64_t band_begin_ = 0;
  std::vector<float> band_;
};

}  // namespace trident
