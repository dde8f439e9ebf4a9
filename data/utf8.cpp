#include "data/utf8.h"

#include <cstdint>
#include <cstring>

namespace trident {
namespace {

unsigned byte_at(std::string_view text, size_t i) { return static_cast<unsigned char>(text[i]); }

/// Length of the well-formed code point at `at`, 0 where there is none (Unicode 15, table 3-7).
size_t code_point_length(std::string_view text, size_t at) {
  const unsigned lead = byte_at(text, at);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (text.size() - at < length) return 0;
  const unsigned second_low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned second_high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  const unsigned second = byte_at(text, at + 1);
  if (second < second_low || second > second_high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((byte_at(text, at + i) & 0xc0) != 0x80) return 0;
  }
  return length;
}

bool eight_ascii(const char* bytes) {
  uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  return (word & 0x8080808080808080ULL) == 0;
}

}  // namespace

size_t utf8_valid_prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    if (text.size() - at >= 8 && eight_ascii(text.data() + at)) {
      at += 8;
      continue;
    }
    const size_t length = code_point_length(text, at);
    if (length == 0) break;
    at += length;
  }
  return at;
}

size_t utf8_invalid_prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && code_point_length(text, at) == 0) ++at;
  return at;
}

char32_t utf8_first(std::string_view text) {
  const unsigned lead = byte_at(text, 0);
  const size_t length = utf8_length(text[0]);
  if (length == 1) return lead;
  char32_t value = lead & (0x7fU >> length);
  for (size_t i = 1; i < length; ++i) value = (value << 6) | (byte_at(text, i) & 0x3f);
  return value;
}

char32_t utf8_last(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (byte_at(text, at) & 0xc0) == 0x80) --at;
  return utf8_first(text.substr(at));
}

}  // namespace trident
