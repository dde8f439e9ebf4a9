#pragma once

#include "core/device.h"
#include "core/tensor.h"

namespace trident {

/// The rows of the vocabulary that a table holds: first … first + table rows − 1 of `vocabulary`.
struct TableShard {
  int64_t first = 0;
  int64_t vocabulary = 0;  ///< 0: the table is the whole
};

/// y[batch · sequence, hidden] = table[tokens] + positions[first_position + t]; `positions` may be undefined. Tokens of
/// another shard have a zero row. tokens: [batch, sequence].
/// Throws Error(ErrorCode::bad_data) for a token outside the vocabulary.
void embedding_forward(const Stream& stream, const Tensor& tokens, const Tensor& table, const Tensor& positions,
                       int64_t first_position, Tensor& y, TableShard shard = {});

/// dtable[tokens] += dy and dpositions[t] += dy (unless undefined), in token order whatever the threads.
void embedding_backward(const Stream& stream, const Tensor& tokens, const Tensor& dy, Tensor& dtable,
                        Tensor& dpositions, TableShard shard = {});

}  // namespace trident
