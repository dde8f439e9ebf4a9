#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace trident {

/// GPT-2's printable spelling of bytes, in which byte-level vocabularies are written: the 188 printable Latin-1
/// characters stand for themselves, the other 68 bytes for U+0100 onward (a space is U+0120 "Ġ").
std::string to_byte_alphabet(std::string_view bytes);

/// The bytes that `text` (well-formed UTF-8) spells; nullopt where a character is outside the alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view text);

}  // namespace trident
