#pragma once

#include "core/device.h"
#include "core/tensor.h"

namespace trident {

// Softmax cross-entropy over a vocabulary that may be cut along the columns of the logits: the rank that holds columns
// first_column … computes statistics of its part, the parts' statistics together give the losses, and each part's
// logits become their own gradient. With one part the first two calls are the whole forward pass.
// labels: [rows] int32, of the whole vocabulary; −1 counts for nothing. Everything but logits: accumulation dtype.

/// statistics: [rows, 3]: the row's largest logit, Σ exp(logit − largest), and the label's logit (0 where the label
/// lies in another part or is −1).
void cross_entropy_statistics(const Stream& stream, const Tensor& logits, const Tensor& labels, int64_t first_column,
                              Tensor& statistics);

/// From statistics [parts, rows, 3] of all parts, in order: lse = log Σ exp(logit), losses = lse − logit[label], 0
/// where the label is −1. Throws Error(ErrorCode::bad_data) for a label outside the vocabulary of `vocabulary` tokens.
void cross_entropy_losses(const Stream& stream, const Tensor& statistics, const Tensor& labels, int64_t vocabulary,
                          Tensor& losses, Tensor& lse);

/// sum: [1] fp64, overwritten with the sum of the losses, in an order that their number alone decides.
void sum_losses(const Stream& stream, const Tensor& losses, Tensor& sum);

/// logits become their own gradient: weight · (softmax − onehot(label)), 0 in rows with label −1.
void cross_entropy_backward(const Stream& stream, const Tensor& labels, int64_t first_column, const Tensor& lse,
                            double weight, Tensor& logits);

}  // namespace trident
