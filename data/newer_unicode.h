#pragma once

#include <string>
#include <string_view>

namespace trident {

/// Debian 12's PCRE2 knows Unicode 14; the public tokenizers know Unicode 16. The code points between the two, with
/// their general categories, let split patterns treat newer letters, digits and signs as the public tokenizers do.

/// Whether `text` (well-formed UTF-8) has a code point whose category is newer than Unicode 14.
bool has_newer_code_point(std::string_view text);

/// The general category of a code point newer than Unicode 14; empty for all others.
std::string_view newer_category(char32_t code_point);

/// Those of a general category ("L", "Lu", ...) as the inside of a PCRE2 character class; may be empty.
std::string newer_ranges(std::string_view category);

}  // namespace trident
