#pragma once

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace trident::cuda {

// A cuBLASLt algorithm as text, "cublaslt:VERSION:" and its 64 bytes as 128 digits. They mean something to that version
// of cuBLASLt only.

using AlgorithmWords = std::array<uint64_t, 8>;

[[nodiscard]] inline std::string algorithm_text(size_t version, const AlgorithmWords& words) {
  std::string text = fmt::format("cublaslt:{}:", version);
  for (const uint64_t word : words) text += fmt::format("{:016x}", word);
  return text;
}

/// Nothing if `text` is no algorithm of that version.
[[nodiscard]] inline std::optional<AlgorithmWords> parse_algorithm(size_t version, std::string_view text) {
  constexpr size_t kDigits = 16;
  const std::string prefix = fmt::format("cublaslt:{}:", version);
  AlgorithmWords words{};
  if (!text.starts_with(prefix) || text.size() != prefix.size() + kDigits * words.size()) return std::nullopt;
  const char* digits = text.data() + prefix.size();
  for (uint64_t& word : words) {
    const auto [end, problem] = std::from_chars(digits, digits + kDigits, word, 16);
    if (problem != std::errc() || end != digits + kDigits) return std::nullopt;
    digits += kDigits;
  }
  return words;
}

}  // namespace trident::cuda
