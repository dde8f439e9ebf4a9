#pragma once

#include <cstdint>
#include <string_view>

namespace trident {

/// CRC-32C (Castagnoli, reflected polynomial 0x82f63b78), with the SSE4.2 instruction where the CPU has it.
std::uint32_t crc32c(std::string_view bytes);

/// The same from a table; the instruction's reference.
std::uint32_t crc32c_portable(std::string_view bytes);

/// TFRecord stores checksums rotated and offset, so that a checksum of bytes holding checksums stays strong.
constexpr std::uint32_t masked_crc(std::uint32_t crc) { return ((crc >> 15U) | (crc << 17U)) + 0xa282ead8U; }

}  // namespace trident
