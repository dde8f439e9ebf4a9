#include "data/utf8.h"

#include <gtest/gtest.h>

#include <string>

#include "data/byte_alphabet.h"

namespace trident {
namespace {

TEST(Utf8, TakesWellFormedTextOnly) {
  for (const char* good :
       {"", "ascii", "12345678é", "\xf4\x8f\xbf\xbf", "\xed\x9f\xbf", "\xee\x80\x80", "\xe0\xa0\x80"}) {
    EXPECT_EQ(utf8_valid_prefix(good), std::string_view(good).size()) << good;
  }
  for (const char* bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf",
                          "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xe2\x82", "\xf0\x9f\x8c"}) {
    EXPECT_EQ(utf8_valid_prefix(std::string("12345678") + bad), 8U);
    EXPECT_EQ(utf8_invalid_prefix(std::string(bad) + "a"), std::string_view(bad).size());
  }
}

TEST(Utf8, DecodesTheFirstAndTheLastCodePoint) {
  EXPECT_EQ(utf8_first("\xf0\x9f\x8c\x8d!"), U'\U0001f30d');
  EXPECT_EQ(utf8_last("a\xe2\x82\xac"), U'\u20ac');
}

TEST(ByteAlphabet, SpellsEveryByteAndReadsItBack) {
  std::string bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.push_back(static_cast<char>(byte));
  const std::string spelt = to_byte_alphabet(bytes);
  EXPECT_EQ(utf8_valid_prefix(spelt), spelt.size());
  EXPECT_EQ(from_byte_alphabet(spelt), bytes);
  EXPECT_EQ(to_byte_alphabet(" \n"), "ĠĊ");
  EXPECT_FALSE(from_byte_alphabet("a b"));
  EXPECT_FALSE(from_byte_alphabet("中"));
}

}  // namespace
}  // namespace trident
