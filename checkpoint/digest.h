#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "checkpoint/logical_block.h"
#include "core/dtype.h"

namespace trident {

/// A 64-bit sum over a logical tensor's elements, each mixed from its place in the whole tensor and its bits. Any
/// sharding gives the same, since parts are added (wrapping). A change of one element always changes it; swapped
/// elements, flipped signs and other changes of many do but for chances in the order of 2^-64. Not against forgery.
/// `values` are the elements of `block` row by row (fp32 or fp64), `columns` those of the whole tensor.
[[nodiscard]] uint64_t digest_of(std::span<const std::byte> values, DType dtype, const LogicalBlock& block,
                                 int64_t columns);
/// The same for `count` elements of the block from its element `begin` on.
[[nodiscard]] uint64_t digest_of(std::span<const std::byte> values, DType dtype, const LogicalBlock& block,
                                 int64_t columns, int64_t begin, int64_t count);

}  // namespace trident
