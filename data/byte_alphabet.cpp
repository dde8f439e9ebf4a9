#include "data/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "data/utf8.h"

namespace trident {
namespace {

constexpr bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

constexpr unsigned kAlphabetEnd = 0x144;  // 256 + the 68 bytes that do not stand for themselves

struct Alphabet {
  std::array<uint16_t, 256> letter{};
  std::array<int16_t, kAlphabetEnd> byte{};
};

constexpr Alphabet make_alphabet() {
  Alphabet alphabet;
  for (auto& byte : alphabet.byte) byte = -1;
  unsigned next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const unsigned letter = stands_for_itself(byte) ? byte : next++;
    alphabet.letter[byte] = static_cast<uint16_t>(letter);
    alphabet.byte[letter] = static_cast<int16_t>(byte);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = make_alphabet();

}  // namespace

std::string to_byte_alphabet(std::string_view bytes) {
  std::string text;
  text.reserve(2 * bytes.size());
  for (const char c : bytes) {
    const unsigned letter = kAlphabet.letter[static_cast<unsigned char>(c)];
    if (letter < 0x80) {
      text.push_back(static_cast<char>(letter));
    } else {
      text.push_back(static_cast<char>(0xc0 | (letter >> 6)));
      text.push_back(static_cast<char>(0x80 | (letter & 0x3f)));
    }
  }
  return text;
}

std::optional<std::string> from_byte_alphabet(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t at = 0; at < text.size(); at += utf8_length(text[at])) {
    const char32_t letter = utf8_first(text.substr(at));
    if (letter >= kAlphabetEnd || kAlphabet.byte[letter] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kAlphabet.byte[letter]));
  }
  return bytes;
}

}  // namespace trident
