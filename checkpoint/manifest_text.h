#pragma once

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace trident {

/// A manifest's text ends with `,"hash":"<32 digits>"}` and a newline; the hash is of all bytes before its first digit.
inline constexpr std::string_view kManifestHashKey = ",\"hash\":\"";
inline constexpr std::string_view kManifestEnd = "\"}\n";
inline constexpr size_t kManifestHashDigits = 32;

/// How it gives 64-bit words, which many JSON tools would round as numbers.
[[nodiscard]] inline std::string hex(uint64_t word) { return fmt::format("{:016x}", word); }

}  // namespace trident
