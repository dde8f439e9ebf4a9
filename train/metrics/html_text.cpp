#include "train/metrics/html_text.h"

#include <cstddef>

namespace trident {
namespace {

constexpr std::string_view replacement = "\xef\xbf\xbd";

// The length of the well-formed UTF-8 sequence that `text` starts with (Unicode, table 3-7), 0 where there is none.
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const auto tail = [&](std::size_t i) { return byte(i) >= 0x80U && byte(i) <= 0xbfU; };
  const unsigned lead = byte(0);
  if (lead < 0x80U) return 1;
  if (lead >= 0xc2U && lead <= 0xdfU) return tail(1) ? 2 : 0;
  if (lead >= 0xe0U && lead <= 0xefU) {
    const unsigned low = lead == 0xe0U ? 0xa0U : 0x80U;
    const unsigned high = lead == 0xedU ? 0x9fU : 0xbfU;
    return byte(1) >= low && byte(1) <= high && tail(2) ? 3 : 0;
  }
  if (lead >= 0xf0U && lead <= 0xf4U) {
    const unsigned low = lead == 0xf0U ? 0x90U : 0x80U;
    const unsigned high = lead == 0xf4U ? 0x8fU : 0xbfU;
    return byte(1) >= low && byte(1) <= high && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

void append_escaped(std::string& out, char character) {
  switch (character) {
    case '&': out += "&amp;"; break;
    case '<': out += "&lt;"; break;
    case '>': out += "&gt;"; break;
    case '"': out += "&quot;"; break;
    case '\'': out += "&#39;"; break;
    case '\n':
    case '\t': out += character; break;
    default:
      if (static_cast<unsigned char>(character) < 0x20U || character == 0x7f) {
        out += replacement;
      } else {
        out += character;
      }
  }
}

}  // namespace

std::string html_escape(std::string_view text) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    if (length == 1) {
      append_escaped(out, text.front());
    } else {
      out += length == 0 ? replacement : text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return out;
}

}  // namespace trident
