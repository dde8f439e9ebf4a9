#pragma once

#include "data/validation_data.h"
#include "train/engine.h"

namespace trident {

struct Evaluation {
  double loss = 0.0;  ///< mean over the labels, nats
  int64_t labels = 0;
  double seconds = 0.0;
  [[nodiscard]] double perplexity() const;
};

/// Mean loss over the first `windows` windows of a data set (all of them: ValidationData::windows()), which the
/// data-parallel ranks share. Collective over the engine's mesh.
[[nodiscard]] Evaluation evaluate(Engine& engine, const ValidationData& data, int64_t windows);

}  // namespace trident
