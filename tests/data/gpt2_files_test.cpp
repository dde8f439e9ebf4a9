#include "data/gpt2_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/error.h"
#include "tests/data/small_bpe.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

class Gpt2FilesTest : public ::testing::Test {
 protected:
  void write(const char* file, const std::string& text) const { folder_.write(file, text); }
  std::string message() const {
    try {
      load_tokenizer(folder_.path().string());
    } catch (const Error& error) {
      return error.what();
    }
    return "loaded";
  }
  void write_small() const {
    write("encoder.json", fixtures::small_tokenizer_json()["model"]["vocab"].dump());
    std::string merges = "#version: 0.2\n";
    for (const auto& [left, right] : fixtures::small_merges())
      merges.append(left).append(" ").append(right).append("\n");
    write("vocab.bpe", merges);
  }

  test::ScratchDir folder_;
};

TEST_F(Gpt2FilesTest, LoadsByFolderByFileAndByKind) {
  write_small();
  for (const auto& path : {folder_.path(), folder_ / "vocab.bpe", folder_ / "encoder.json"}) {
    EXPECT_THAT(load_tokenizer(path.string())->encode("hello world"), ElementsAre(259, 265));
    EXPECT_EQ(make_tokenizer("gpt2-bpe", path.string())->kind(), "gpt2-bpe");
  }
  EXPECT_EQ(load_tokenizer(folder_.path().string())->hash(), load_tokenizer((folder_ / "vocab.bpe").string())->hash());
  EXPECT_THROW(make_tokenizer("gpt2-bpe", ""), Error);
  EXPECT_THROW(make_tokenizer("sentencepiece", folder_.path().string()), Error);
  EXPECT_THROW(load_tokenizer((folder_ / "absent").string()), Error);
}

TEST_F(Gpt2FilesTest, SpecialTokensInTextArePlainText) {
  write_small();
  EXPECT_EQ(load_tokenizer(folder_.path().string())->encode("<|endoftext|>").size(), 13U);
}

TEST_F(Gpt2FilesTest, BrokenFilesAreRefusedWithTheirPlace) {
  EXPECT_THAT(message(), HasSubstr("holds neither"));
  write("encoder.json", R"({"a":0,"b":1,"ab":2})");
  write("vocab.bpe", "#version: 0.2\na b\nb c\n");
  EXPECT_THAT(message(), HasSubstr("vocab.bpe:3: merge names \"c\""));
  write("vocab.bpe", "a b\nb a\n");
  EXPECT_THAT(message(), HasSubstr("vocab.bpe:2: merge makes \"ba\""));
  write("vocab.bpe", "ab\n");
  EXPECT_THAT(message(), HasSubstr("vocab.bpe:1: a merge needs two tokens"));
  for (const char* ids : {R"({"a":0,"b":0})", R"({"a":-1})", R"({"a":1e3})", R"({"a":9999999999999})", R"({"a":"0"})",
                          R"({"a":0,"b":5000000})", R"({"a":0,"a":1})", "[]", "{}", "{", ""}) {
    write("encoder.json", ids);
    EXPECT_THAT(message(), HasSubstr("encoder.json")) << ids;
  }
}

class PublicGpt2Test : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* named = std::getenv("TRIDENT_SHARED_DATA");
    data_ = named != nullptr ? fs::path(named) : fs::path(TRIDENT_SOURCE_DIR) / ".." / "shared" / "data";
    if (!fs::exists(data_ / "gpt2-bpe" / "vocab.bpe")) GTEST_SKIP() << "GPT-2's files are not here";
    tokenizer_ = load_tokenizer((data_ / "gpt2-bpe").string());
  }

  fs::path data_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(PublicGpt2Test, GivesThePublishedIds) {
  EXPECT_EQ(tokenizer_->vocab_size(), 50257);
  EXPECT_EQ(tokenizer_->end_of_document(), 50256);
  EXPECT_THAT(tokenizer_->encode("hello world"), ElementsAre(31373, 995));
  EXPECT_THAT(tokenizer_->encode("This is some text"), ElementsAre(1212, 318, 617, 2420));
  EXPECT_THAT(tokenizer_->encode("indivisible"), ElementsAre(521, 452, 12843));
  EXPECT_THAT(tokenizer_->encode("hello 👋 world 🌍"), ElementsAre(31373, 50169, 233, 995, 12520, 234, 235));
  EXPECT_THAT(tokenizer_->encode("000"), ElementsAre(830));
}

TEST_F(PublicGpt2Test, CountsNanoGptsTokensOfShakespeare) {
  std::ifstream file(data_ / "tinyshakespeare.txt", std::ios::binary);
  std::ostringstream stream;
  stream << file.rdbuf();
  const std::string text = stream.str();
  if (text.empty()) GTEST_SKIP() << "tinyshakespeare.txt is not here";
  const size_t cut = text.size() * 9 / 10;
  EXPECT_EQ(tokenizer_->encode(text.substr(0, cut)).size(), 301966U);
  EXPECT_EQ(tokenizer_->encode(text.substr(cut)).size(), 36059U);
  EXPECT_EQ(tokenizer_->decode(tokenizer_->encode(text)), text);
}

}  // namespace
}  // namespace trident
