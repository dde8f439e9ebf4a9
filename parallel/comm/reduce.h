#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "parallel/comm/element.h"

namespace trident {

/// outs[k][i] = sources[0][i] op sources[1][i] op … for i in [0, count), always in the order of the sources, so that
/// the result is a function of the values alone. bf16 is accumulated in fp32 and rounded once. An out may be the same
/// memory as a source.
void reduce_in_order(ReduceOp op, Element element, std::span<const std::byte* const> sources, int64_t count,
                     std::span<std::byte* const> outs);

/// out[i] = (sources[0][i] + sources[1][i]) + (sources[2][i] + sources[3][i]), otherwise as above.
void add_pairs(Element element, std::span<const std::byte* const, 4> sources, int64_t count, std::byte* out);

}  // namespace trident
