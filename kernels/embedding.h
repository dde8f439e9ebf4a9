#pragma once

#include "core/device.h"
#include "core/tensor.h"

namespace trident {

/// y[batch, sequence, hidden] = table[tokens] + positions[first_position + t]; `positions` may be undefined.
/// Throws Error(ErrorCode::bad_data) for a token outside the table.
void embedding_forward(const Stream& stream, const Tensor& tokens, const Tensor& table, const Tensor& positions,
                       int64_t first_position, Tensor& y);

/// dtable[tokens] += dy and dpositions[t] += dy (unless undefined), in token order whatever the threads.
void embedding_backward(const Stream& stream, const Tensor& tokens, const Tensor& dy, Tensor& dtable,
                        Tensor& dpositions);

}  // namespace trident
