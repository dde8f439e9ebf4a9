#pragma once

#include <cstddef>
#include <span>

namespace trident {

/// Copies memory that will not be read soon: the stores go past the caches where the processor can, which spares
/// reading the target first and leaves the caches to others. `to` is at least as long; they must not overlap.
void stream_copy(std::span<std::byte> to, std::span<const std::byte> from);

}  // namespace trident
