#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace trident::json_text {

/// Appends `text` as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD.
void append_string(std::string& out, std::string_view text);

/// Appends a number with `digits` significant digits, null where it is not finite. 17 digits give every double back.
void append_number(std::string& out, double value, int digits);

}  // namespace trident::json_text
