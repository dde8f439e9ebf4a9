#include "data/bpe_tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "data/byte_tokenizer.h"
#include "data/tokenizer_json.h"
#include "tests/data/small_bpe.h"

namespace trident {
namespace {

using ::testing::ElementsAre;

std::unique_ptr<Tokenizer> small() { return parse_tokenizer_json(fixtures::small_tokenizer_json().dump(), "small"); }

/// The definition: merge the leftmost pair of the lowest rank until there is none.
std::vector<std::string> merge_by_definition(const std::string& piece) {
  std::vector<std::string> symbols;
  for (const char c : piece) symbols.push_back(to_byte_alphabet({&c, 1}));
  const auto merges = fixtures::small_merges();
  for (size_t rank = 0; rank < merges.size();) {
    bool merged = false;
    for (size_t i = 0; i + 1 < symbols.size() && !merged; ++i) {
      if (symbols[i] != merges[rank].first || symbols[i + 1] != merges[rank].second) continue;
      symbols[i] += symbols[i + 1];
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      merged = true;
    }
    rank = merged ? 0 : rank + 1;
  }
  return symbols;
}

TEST(ByteTokenizer, IdsAreBytes) {
  const auto tokenizer = make_byte_tokenizer();
  EXPECT_THAT(tokenizer->encode("a\xff"), ElementsAre(97, 255));
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{97, 255}), "a\xff");
  EXPECT_EQ(tokenizer->vocab_size(), 256);
  EXPECT_FALSE(tokenizer->end_of_document());
  EXPECT_THROW(tokenizer->decode(std::vector<int32_t>{256}), Error);
  EXPECT_THROW(tokenizer->decode(std::vector<int32_t>{-1}), Error);
}

TEST(BpeTokenizer, MergesByRank) {
  const auto tokenizer = small();
  EXPECT_THAT(tokenizer->encode("hello world"), ElementsAre(259, 265));
  EXPECT_THAT(tokenizer->encode("hello<|endoftext|>"), ElementsAre(259, 270));
  EXPECT_EQ(tokenizer->end_of_document(), 270);
  EXPECT_EQ(tokenizer->vocab_size(), 271);
  EXPECT_EQ(tokenizer->decode(std::vector<int32_t>{259, 270}), "hello<|endoftext|>");
  EXPECT_THROW(tokenizer->decode(std::vector<int32_t>{271}), Error);
  EXPECT_THAT(tokenizer->encode(""), ElementsAre());
}

TEST(BpeTokenizer, ShortAndLongPiecesFollowTheDefinition) {
  const auto tokenizer = small();
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::string piece;
    for (size_t length = 1 + random() % 120; length > 0; --length) piece += "hellowrda"[random() % 9];
    std::vector<std::string> found;
    for (const int32_t id : tokenizer->encode(piece)) {
      found.push_back(to_byte_alphabet(tokenizer->decode(std::vector<int32_t>{id})));
    }
    EXPECT_EQ(found, merge_by_definition(piece)) << piece;
  }
}

TEST(BpeTokenizer, EveryByteStringComesBack) {
  const auto tokenizer = small();
  std::mt19937 random(11);
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (size_t length = random() % 40; length > 0; --length) {
      text.push_back(static_cast<char>(random() % 3 == 0 ? random() % 256 : "hello \xc3\xa9\n<|"[random() % 11]));
    }
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  }
}

TEST(BpeTokenizer, AMegabyteOfOneCharacterTakesNoQuadraticTime) {
  const auto tokenizer = small();
  for (const char c : {'a', ' ', '\n', '\xff'}) {
    const std::string text(size_t{1} << 20, c);
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  }
}

TEST(BpeTokenizer, ThreadsShareOneTokenizer) {
  const auto tokenizer = small();
  const std::string text = "hello world, hellooo  worldaaaaaaaa \xff\xfe";
  const auto expected = tokenizer->encode(text);
  std::vector<int> wrong(4);
  std::vector<std::thread> threads;
  threads.reserve(wrong.size());
  for (int& mine : wrong) {
    threads.emplace_back([&] {
      for (int round = 0; round < 500; ++round) mine += tokenizer->encode(text) == expected ? 0 : 1;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

}  // namespace
}  // namespace trident
