#include "data/split_pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "data/oniguruma.h"
#include "data/pre_tokenizer.h"

namespace trident {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::vector<std::string> matches(const char* pattern, const std::string& text) {
  const SplitPattern compiled = SplitPattern::regex(pattern);
  SplitPattern::Search search(compiled, text);
  SplitPattern::Match match{};
  std::vector<std::string> found;
  while (search.next(match)) found.push_back(text.substr(match.begin, match.end - match.begin));
  return found;
}

std::vector<std::string> pieces(SplitBehavior behavior, const char* pattern, const std::string& text) {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.add_split(SplitPattern::regex(pattern), behavior);
  std::vector<std::string> found;
  pre_tokenizer.split(text, [&](std::string_view piece) { found.emplace_back(piece); });
  return found;
}

TEST(SplitPattern, ClassesMeanWhatTheyMeanToOniguruma) {
  EXPECT_THAT(matches(R"(\s)", "\u180e\u0085\u3000\x1c"), ElementsAre("\u0085", "\u3000"));
  EXPECT_THAT(matches(R"([^\S\n]+)", "a \n\t b"), ElementsAre(" ", "\t "));
  EXPECT_THAT(matches(R"(\w+)", "na\u0301\u203fb-\u24d0c"), ElementsAre("na\u0301\u203fb", "\u24d0c"));
  EXPECT_THAT(matches(R"(\h+)", "xyzBEEF"), ElementsAre("BEEF"));
  EXPECT_THAT(matches(R"(^.|.$)", "ab\ncd"), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(matches(R"((?m:a.b))", "a\nb"), ElementsAre("a\nb"));
  EXPECT_THAT(matches(R"(a{,2}b)", "aaab"), ElementsAre("aab"));
  EXPECT_THAT(matches(R"(\p{N}{1,3}+)", "12345"), ElementsAre("12345"));  // repeated, not possessive
  EXPECT_THAT(matches(R"((?i:'s))", "'S'\u017f"), ElementsAre("'S", "'\u017f"));
  EXPECT_THAT(matches(R"(\p{Han}+)", "中文、x\u3005"), ElementsAre("中文", "\u3005"));
}

TEST(SplitPattern, KnowsLettersNewerThanPcre2) {
  EXPECT_THAT(matches(R"(\p{L}+)", "a\U00031350\u1c89"), ElementsAre("a\U00031350\u1c89"));
  EXPECT_THAT(matches(R"([^\s\p{L}\p{N}]+)", "\U00031350!"), ElementsAre("!"));
}

TEST(SplitPattern, EmptyMatchesNeverLoop) {
  EXPECT_THAT(matches("x*", "axb"), ElementsAre("", "x", ""));
  EXPECT_THAT(matches("(?=é)", "aéé"), ElementsAre("", ""));
}

TEST(SplitPattern, RefusesWhatItCannotKeepFaithfully) {
  for (const char* pattern : {"[a-z&&[^b]]", "[[:alpha:]]", R"((a)\1)", R"(\R)", R"(\G)", "(?x: a)", "a(?i)b", "a{2}?",
                              "*a", "(", ")", "[a", R"(\p{Nonsense})", "\\", R"([\W])", "(?i:\\p{Lu})", "(?<n>a)"}) {
    EXPECT_THROW(SplitPattern::regex(pattern), Error) << pattern;
  }
  EXPECT_THROW(SplitPattern::regex(std::string(70000, 'a')), Error);
  EXPECT_THROW(SplitPattern::regex(std::string(500, '(')), Error);
}

TEST(SplitPattern, CatastrophicBacktrackingIsAnError) {
  const SplitPattern pattern = SplitPattern::regex("(?:a+)+b|(?:a|aa)+c");
  const std::string text(4000, 'a');
  SplitPattern::Search search(pattern, text);
  SplitPattern::Match match{};
  try {
    search.next(match);
    FAIL() << "matched";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("limit"));
  }
}

TEST(PreTokenizer, BehavioursJoinMatchesAsNamed) {
  const std::string text = "a--b";
  EXPECT_THAT(pieces(SplitBehavior::removed, "-", text), ElementsAre("a", "b"));
  EXPECT_THAT(pieces(SplitBehavior::isolated, "-", text), ElementsAre("a", "-", "-", "b"));
  EXPECT_THAT(pieces(SplitBehavior::contiguous, "-", text), ElementsAre("a", "--", "b"));
  EXPECT_THAT(pieces(SplitBehavior::merged_with_previous, "-", text), ElementsAre("a-", "-", "b"));
  EXPECT_THAT(pieces(SplitBehavior::merged_with_next, "-", text), ElementsAre("a", "-", "-b"));
  EXPECT_THAT(pieces(SplitBehavior::removed, "-", "--"), IsEmpty());
}

TEST(PreTokenizer, SplitsBehindTheByteAlphabetSeeItsLetters) {
  PreTokenizer pre_tokenizer;
  pre_tokenizer.add_byte_alphabet();
  pre_tokenizer.add_split(SplitPattern::regex("Ġ"), SplitBehavior::merged_with_next);
  std::vector<std::string> found;
  pre_tokenizer.split("é é", [&](std::string_view piece) { found.emplace_back(piece); });
  EXPECT_THAT(found, ElementsAre("é", " é"));
}

}  // namespace
}  // namespace trident
