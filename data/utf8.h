#pragma once

#include <cstddef>
#include <string_view>

namespace trident {

/// Length of the longest prefix of `text` that is well-formed UTF-8 (no overlong forms, surrogates or values above
/// U+10FFFF) and ends on a whole code point.
size_t utf8_valid_prefix(std::string_view text);

/// Length of the run of bytes at the front of `text` at which no well-formed code point starts.
size_t utf8_invalid_prefix(std::string_view text);

/// The code point that starts at `text[0]` / ends at `text.back()`; `text` is well-formed and not empty.
char32_t utf8_first(std::string_view text);
char32_t utf8_last(std::string_view text);

/// Bytes of the code point whose lead byte is `lead`, in well-formed text.
inline size_t utf8_length(char lead) {
  const auto byte = static_cast<unsigned char>(lead);
  return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

}  // namespace trident
