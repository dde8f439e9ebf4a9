#pragma once

#include <string>
#include <string_view>

namespace trident {

/// `text` for HTML or SVG, inside an element or a quoted attribute. Control characters and bytes that are not UTF-8
/// become U+FFFD.
std::string html_escape(std::string_view text);

}  // namespace trident
