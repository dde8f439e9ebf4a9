#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "checkpoint/safetensors.h"

namespace trident {

/// Reads the JSON of a header into `header.tensors` (offsets still relative to the data section) and
/// `header.metadata`. Streams: memory is proportional to the tensors found, whatever the text tries. Every tensor's
/// range is checked against its shape and against `data_bytes`; the tiling is the caller's to check.
void parse_safetensors_json(std::span<const std::byte> text, uint64_t data_bytes, const std::string& file,
                            SafetensorsHeader& header);

/// The type of that name in a header, such as "BF16".
[[nodiscard]] std::optional<SafetensorsDType> safetensors_dtype(std::string_view name);

}  // namespace trident
