#pragma once

#include <functional>
#include <vector>

#include "model/model.h"
#include "model/sampling.h"

namespace trident {

/// Continues a sequence token by token, keeping keys and values. When the model's positions are used up, the newer half
/// of them is read again and generation goes on.
class Generator {
 public:
  Generator(const Model& model, Stream stream);

  /// Samples `count` tokens after `prompt` (at least one token). `visit` sees each as it comes; it returns false to
  /// stop.
  std::vector<int32_t> generate(std::span<const int32_t> prompt, int64_t count, const SamplingOptions& options,
                                const std::function<bool(int32_t)>& visit = nullptr);

 private:
  /// Logits after the sequence's tokens from cached_ on.
  std::vector<double> next_logits(std::vector<int32_t>& window);

  const Model& model_;
  Stream stream_;
  std::vector<KeyValueCache> caches_;
  int64_t cached_ = 0;  // positions in the caches
};

}  // namespace trident
