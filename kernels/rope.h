#pragma once

#include "core/device.h"
#include "core/tensor.h"
#include "kernels/attention.h"

namespace trident {

enum class RopeDirection {
  forward,
  backward,  ///< the inverse rotation, which is the gradient's
};

/// Cosines and sines of positions 0 … positions − 1: [positions, head_dim] with cos of pair i at i and sin at
/// head_dim/2 + i, angle = position · theta^(−2i/head_dim). dtype: accumulation.
void rope_table(const Stream& stream, double theta, Tensor& table);

/// Rotates the query and key heads of qkv (as in kernels/attention.h) in place; row t of each batch is at position
/// first_position + t. Element i of a head is paired with i + head_dim/2 (Su et al., "RoFormer" (2021), section 3.2,
/// in the half-split order of Hugging Face's Llama).
void rope(const Stream& stream, const AttentionShape& shape, const Tensor& table, int64_t first_position,
          RopeDirection direction, Tensor& qkv);

}  // namespace trident
