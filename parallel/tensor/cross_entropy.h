#pragma once

#include "core/layer.h"
#include "parallel/tensor/tensor_parallel.h"

namespace trident {

struct TokenLosses {
  Tensor losses;  ///< [rows], accumulation dtype; 0 where the label is −1
  Tensor lse;     ///< [rows]: log Σ exp(logit) over the whole vocabulary
};

/// Losses of all rows from this rank's columns of the logits, which start at `first_column`, without gathering them:
/// three numbers a row go round. Collective over tp; every rank has the same result.
[[nodiscard]] TokenLosses vocabulary_parallel_losses(Context& context, const TensorParallel& tp, const Tensor& logits,
                                                     const Tensor& labels, int64_t first_column, int64_t vocabulary);

}  // namespace trident
