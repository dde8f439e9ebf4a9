#pragma once

#include "core/device.h"
#include "core/tensor.h"

namespace trident {

/// Per row of logits[rows, vocabulary]: lse = log Σ exp(logit), loss = lse − logit[label], 0 where label is −1.
/// labels: [rows] int32; losses, lse: [rows], accumulation dtype.
/// Throws Error(ErrorCode::bad_data) for a label outside the vocabulary.
void cross_entropy_forward(const Stream& stream, const Tensor& logits, const Tensor& labels, Tensor& losses,
                           Tensor& lse);

/// logits become their own gradient: weight · (softmax − onehot(label)), 0 in rows with label −1.
void cross_entropy_backward(const Stream& stream, const Tensor& labels, const Tensor& lse, double weight,
                            Tensor& logits);

}  // namespace trident
