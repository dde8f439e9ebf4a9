#include "data/tokenizer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/data/small_bpe.h"

namespace trident {
namespace {

using fixtures::small_tokenizer_json;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::unique_ptr<Tokenizer> load(const json& file) { return parse_tokenizer_json(file.dump(), "t.json"); }

std::string message(const std::string& text) {
  try {
    parse_tokenizer_json(text, "t.json");
  } catch (const Error& error) {
    return error.what();
  }
  return "loaded";
}

json added(const char* content, int id, std::initializer_list<const char*> flags) {
  json token = {{"id", id},        {"content", content},  {"single_word", false}, {"lstrip", false},
                {"rstrip", false}, {"normalized", false}, {"special", false}};
  for (const char* flag : flags) token[flag] = true;
  return token;
}

std::vector<int32_t> bytes(const std::string& text) { return {text.begin(), text.end()}; }

TEST(TokenizerJson, MergesMayBePairs) {
  json file = small_tokenizer_json();
  const auto expected = load(file);
  for (json& merge : file["model"]["merges"]) {
    const auto text = merge.get<std::string>();
    merge = {text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1)};
  }
  EXPECT_EQ(load(file)->hash(), expected->hash());
  EXPECT_EQ(load(file)->encode("hello world"), expected->encode("hello world"));
}

TEST(TokenizerJson, IgnoreMergesTakesWholeTokens) {
  json file = small_tokenizer_json();
  file["model"]["vocab"]["xyz"] = 270;
  file["added_tokens"] = nullptr;
  EXPECT_THAT(load(file)->encode("xyz"), ElementsAre('x', 'y', 'z'));
  const std::string hash = load(file)->hash();
  file["model"]["ignore_merges"] = true;
  EXPECT_THAT(load(file)->encode("xyz"), ElementsAre(270));
  EXPECT_NE(load(file)->hash(), hash);
}

TEST(TokenizerJson, AddedTokensHonourTheirFlags) {
  json file = small_tokenizer_json();
  file["added_tokens"] = {added("<l>", 270, {"lstrip"}), added("<r>", 271, {"rstrip"}),
                          added("sw", 272, {"single_word"}), added("<l><r>", 273, {})};
  const auto tokenizer = load(file);
  EXPECT_THAT(tokenizer->encode("a \t<l> b"), ElementsAre('a', 270, ' ', 'b'));
  EXPECT_THAT(tokenizer->encode("a <r>\u3000 b"), ElementsAre('a', ' ', 271, 'b'));
  EXPECT_THAT(tokenizer->encode("sw!"), ElementsAre(272, '!'));
  EXPECT_EQ(tokenizer->encode("xsw"), bytes("xsw"));
  EXPECT_THAT(tokenizer->encode("<l><r>"), ElementsAre(273));
}

TEST(TokenizerJson, NormalizedTokensAreFoundInNormalizedText) {
  json file = small_tokenizer_json();
  file["normalizer"] = {{"type", "NFC"}};
  file["added_tokens"] = {added("\u01f9", 270, {"normalized"}), added("\u0227", 271, {})};
  EXPECT_THAT(load(file)->encode("n\u0300"), ElementsAre(270));
  EXPECT_EQ(load(file)->encode("a\u0307").size(), 2U);  // becomes U+0227 too late for the raw token
}

TEST(TokenizerJson, PrefixSpaceAndUnknownBytes) {
  json file = small_tokenizer_json();
  file["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_THAT(load(file)->encode("world"), ElementsAre(265));
  EXPECT_THAT(load(file)->encode(""), ElementsAre());

  const std::string tiny = R"({"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},
    "model":{"type":"BPE","vocab":{"u":0,"a":1},"merges":[],"unk_token":UNK,"fuse_unk":FUSE}})";
  const auto with = [&](const char* unknown, const char* fuse) {
    std::string text = tiny;
    text.replace(text.find("UNK"), 3, unknown);
    text.replace(text.find("FUSE"), 4, fuse);
    return parse_tokenizer_json(text, "t.json");
  };
  EXPECT_THAT(with("\"u\"", "false")->encode("axya"), ElementsAre(1, 0, 0, 1));
  EXPECT_THAT(with("\"u\"", "true")->encode("axya"), ElementsAre(1, 0, 1));
  EXPECT_THROW(with("null", "false")->encode("axya"), Error);
}

TEST(TokenizerJson, WhatIsNotSupportedIsRefusedByName) {
  const std::vector<std::pair<const char*, std::function<void(json&)>>> cases = {
      {"model.type", [](json& f) { f["model"]["type"] = "Unigram"; }},
      {"model.dropout", [](json& f) { f["model"]["dropout"] = 0.1; }},
      {"model.end_of_word_suffix", [](json& f) { f["model"]["end_of_word_suffix"] = "</w>"; }},
      {"model.continuing_subword_prefix", [](json& f) { f["model"]["continuing_subword_prefix"] = "##"; }},
      {"model.byte_fallback",
       [](json& f) {
         f["model"]["byte_fallback"] = true;
         f["model"]["vocab"].erase("b");
       }},
      {"model.novelty", [](json& f) { f["model"]["novelty"] = 1; }},
      {"model.unk_token", [](json& f) { f["model"]["unk_token"] = "<none>"; }},
      {"model.merges[0]", [](json& f) { f["model"]["merges"][0] = "h \u4e2d"; }},
      {"model.merges[0]", [](json& f) { f["model"]["merges"][0] = 7; }},
      {"model.merges[1]",
       [](json& f) {
         f["model"]["merges"][1] = {"a", "b", "c"};
       }},
      {"model.merges", [](json& f) { f["model"]["merges"] = "a b"; }},
      {"model.vocab", [](json& f) { f["model"]["vocab"] = json::array(); }},
      {"model.vocab.zz", [](json& f) { f["model"]["vocab"]["zz"] = -5; }},
      {"id 0 is both", [](json& f) { f["model"]["vocab"]["zz"] = 0; }},
      {"model.vocab.zz", [](json& f) { f["model"]["vocab"]["zz"] = 1.5; }},
      {"model.vocab.zz", [](json& f) { f["model"]["vocab"]["zz"] = 4000000000U; }},
      {"too sparse", [](json& f) { f["model"]["vocab"]["zz"] = 16000000; }},
      {"added_tokens[0].id", [](json& f) { f["added_tokens"][0]["id"] = 300; }},
      {"added_tokens[0].content", [](json& f) { f["added_tokens"][0]["content"] = ""; }},
      {"added_tokens[0].special", [](json& f) { f["added_tokens"][0]["special"] = "yes"; }},
      {"normalizer.type",
       [](json& f) {
         f["normalizer"] = {{"type", "Lowercase"}};
       }},
      {"pre_tokenizer: no ByteLevel", [](json& f) { f["pre_tokenizer"] = nullptr; }},
      {"pre_tokenizer.type",
       [](json& f) {
         f["pre_tokenizer"] = {{"type", "Metaspace"}};
       }},
      {"decoder.type",
       [](json& f) {
         f["decoder"] = {{"type", "WordPiece"}};
       }},
      {"post_processor.type",
       [](json& f) {
         f["post_processor"] = {{"type", "Novel"}};
       }},
  };
  for (const auto& [place, spoil] : cases) {
    json file = small_tokenizer_json();
    spoil(file);
    EXPECT_THAT(message(file.dump()), ::testing::AllOf(HasSubstr("t.json"), HasSubstr(place)));
  }
}

TEST(TokenizerJson, BadPatternsNameTheirPlace) {
  json file = small_tokenizer_json();
  json split = {{"type", "Split"}, {"pattern", {{"Regex", "a(b"}}}, {"behavior", "Isolated"}, {"invert", false}};
  file["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {split, {{"type", "ByteLevel"}}}}};
  EXPECT_THAT(message(file.dump()), HasSubstr("pre_tokenizer.pretokenizers[0].pattern.Regex"));
  file["pre_tokenizer"]["pretokenizers"][0]["pattern"] = {{"String", ""}};
  EXPECT_THAT(message(file.dump()), HasSubstr("empty pattern"));
}

TEST(TokenizerJson, HostileDocumentsAreRefused) {
  EXPECT_THAT(message("{"), HasSubstr("not JSON"));
  EXPECT_THAT(message(""), HasSubstr("not JSON"));
  EXPECT_THAT(message("\xff"), HasSubstr("not JSON"));
  EXPECT_THAT(message("[]"), HasSubstr("expected an object"));
  EXPECT_THAT(message(std::string(100000, '[')), HasSubstr("nests more than"));
  EXPECT_THAT(message(R"({"model":{"vocab":{"a":0,"a":1}}})"), HasSubstr("\"a\" twice"));
}

}  // namespace
}  // namespace trident
