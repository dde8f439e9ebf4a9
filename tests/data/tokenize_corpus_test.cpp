#include "data/tokenize_corpus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "data/byte_progress.h"
#include "data/indexed_dataset.h"
#include "data/ordered_workers.h"
#include "data/tokenizer.h"
#include "tests/data/index_bytes.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::error_of;
using test::read_file;
using test::ScratchDir;
using testing::ElementsAre;
using testing::HasSubstr;

CorpusEncoder byte_encoder() {
  CorpusEncoder encoder;
  encoder.encode_append = [](std::string_view text, std::vector<int32_t>& ids) {
    for (const char byte : text) ids.push_back(static_cast<unsigned char>(byte));
  };
  encoder.vocab_size = 257;
  encoder.end_of_document = 256;
  encoder.cut_anywhere = true;
  return encoder;
}

/// One id per word with the space before it, as byte-level patterns split: an id that a cut inside would change.
CorpusEncoder word_encoder() {
  CorpusEncoder encoder;
  encoder.encode_append = [](std::string_view text, std::vector<int32_t>& ids) {
    while (!text.empty()) {
      const size_t end = std::min(text.find_first_of(" \n", 1), text.size());
      uint32_t hash = 7;
      for (const char byte : text.substr(0, end)) hash = hash * 31 + static_cast<unsigned char>(byte);
      ids.push_back(static_cast<int32_t>(hash % 60000));
      text.remove_prefix(end);
    }
  };
  encoder.vocab_size = 60000;
  return encoder;
}

std::vector<int32_t> tokens_of(const std::string& path) {
  const IndexedDataset data(path);
  std::vector<int32_t> tokens(static_cast<size_t>(data.tokens()));
  data.read(0, tokens);
  return tokens;
}

TokenizeCorpusOptions quiet(std::vector<std::string> inputs, std::string out) {
  TokenizeCorpusOptions options;
  options.inputs = std::move(inputs);
  options.out_prefix = std::move(out);
  options.progress = false;
  return options;
}

TEST(TokenizeCorpus, TextFilesAndJsonLinesBecomeDocumentsInOrder) {
  const ScratchDir scratch;
  const auto text = scratch.write("a.txt", "hi");
  const auto empty = scratch.write("b.txt", "");
  const auto lines = scratch.write(
      "c.jsonl", "\xEF\xBB\xBF{\"id\": 1, \"text\": \"\\u00e9\"}\n\n{\"text\": \"\"}\r\n{\"text\":\"z\"}");
  const auto result = tokenize_corpus(quiet({text, empty, lines}, scratch / "out"), byte_encoder());
  EXPECT_THAT(tokens_of(scratch / "out"), ElementsAre('h', 'i', 256, 0xC3, 0xA9, 256, 'z', 256));
  EXPECT_EQ(result.documents, 5);
  EXPECT_EQ(result.tokens, 8);
  EXPECT_EQ(result.bytes, static_cast<int64_t>(2 + read_file(scratch / "c.jsonl").size()));
}

TEST(TokenizeCorpus, OutputDoesNotDependOnThreadsOrChunks) {
  const ScratchDir scratch;
  std::string text;
  std::string lines;
  for (int i = 0; i < 3000; ++i) {
    text += "word" + std::to_string(i * 7919 % 1000) + (i % 7 == 0 ? "\n" : i % 31 == 0 ? "\n\n" : " ");
    lines += "{\"text\": \"" + std::string(static_cast<size_t>(i % 90), 'q') + " end\"}\n";
  }
  const std::vector<std::string> inputs{scratch.write("a.txt", text), scratch.write("b.jsonl", lines)};
  for (const auto& encoder : {byte_encoder(), word_encoder()}) {
    tokenize_corpus(quiet(inputs, scratch / "whole"), encoder);
    for (const int threads : {1, 3}) {
      for (const int64_t chunk_bytes : {16, 333, 5000}) {
        auto options = quiet(inputs, scratch / "part");
        options.threads = threads;
        options.chunk_bytes = chunk_bytes;
        tokenize_corpus(options, encoder);
        EXPECT_EQ(read_file(scratch / "part.bin"), read_file(scratch / "whole.bin")) << threads << " " << chunk_bytes;
        EXPECT_EQ(read_file(scratch / "part.idx"), read_file(scratch / "whole.idx"));
      }
    }
  }
}

TEST(TokenizeCorpus, ATokenizerThatNoCutSuitsGetsWholeDocuments) {
  const ScratchDir scratch;
  CorpusEncoder encoder;  // its ids tell where a piece of text starts
  encoder.encode_append = [](std::string_view text, std::vector<int32_t>& ids) {
    for (size_t i = 0; i < text.size(); ++i) ids.push_back(static_cast<int32_t>(i % 1000));
  };
  encoder.vocab_size = 1000;
  auto options = quiet({scratch.write("a.txt", std::string(500, 'a') + "\nb c d e f g\nh")}, scratch / "out");
  options.chunk_bytes = 8;
  tokenize_corpus(options, encoder);
  EXPECT_EQ(tokens_of(scratch / "out").back(), 513);
}

TEST(TokenizeCorpus, ValidationIsTheLastPartOfTheBytes) {
  const ScratchDir scratch;
  auto options = quiet({scratch.write("a.txt", std::string(95, 'a') + "bbbbb")}, scratch / "out");
  options.validation_fraction = 0.05;
  options.append_end_of_document = false;
  options.chunk_bytes = 10;
  const auto result = tokenize_corpus(options, byte_encoder());
  EXPECT_EQ(tokens_of(scratch / "out"), std::vector<int32_t>(95, 'a'));
  EXPECT_EQ(tokens_of(scratch / "out-val"), std::vector<int32_t>(5, 'b'));
  EXPECT_EQ(result.tokens, 100);
  EXPECT_EQ(result.validation_tokens, 5);
  EXPECT_EQ(result.validation_documents, 1);
  EXPECT_EQ(result.documents, 2);
}

struct BadLine {
  const char* line;
  const char* message;
};

class BadJsonLine : public testing::TestWithParam<BadLine> {};

TEST_P(BadJsonLine, IsNamedAndLeavesNoOutput) {
  const ScratchDir scratch;
  std::string lines;
  for (int i = 1; i < 200; ++i) lines += "{\"text\": \"fine\"}\n";
  auto options = quiet({scratch.write("a.jsonl", lines + GetParam().line + "\n" + lines)}, scratch / "out");
  options.chunk_bytes = 100;
  options.threads = 2;
  options.validation_fraction = 0.1;
  const auto message = error_of([&] { tokenize_corpus(options, byte_encoder()); });
  EXPECT_THAT(message, HasSubstr("a.jsonl:200: "));
  EXPECT_THAT(message, HasSubstr(GetParam().message));
  EXPECT_THAT(scratch.files(), ElementsAre("a.jsonl"));
}

INSTANTIATE_TEST_SUITE_P(Lines, BadJsonLine,
                         testing::Values(BadLine{"{\"text\": \"a\"", ""}, BadLine{"{\"text\": \"a\"} x", ""},
                                         BadLine{"{\"text\": \"\\ud800\"}", ""},
                                         BadLine{"{\"text\": \"\xff\"}", "UTF-8"},
                                         BadLine{"[\"a\"]", "not a JSON object"}, BadLine{"3", "not a JSON object"},
                                         BadLine{"{\"body\": \"a\", \"id\": 2}", "no key \"text\"; it has body, id"},
                                         BadLine{"{}", "it has nothing"}, BadLine{"{\"text\": 3}", "not a string"},
                                         BadLine{"{\"text\": null}", "not a string"}));

TEST(TokenizeCorpus, ReadsAnotherKeyWhenAsked) {
  const ScratchDir scratch;
  auto options = quiet({scratch.write("a.json", "{\"text\": \"no\", \"body\": \"y\"}")}, scratch / "out");
  options.json_key = "body";
  tokenize_corpus(options, byte_encoder());
  EXPECT_THAT(tokens_of(scratch / "out"), ElementsAre('y', 256));
}

TEST(TokenizeCorpus, TakesATokenizer) {
  const ScratchDir scratch;
  const auto tokenizer = load_tokenizer("byte");
  const auto encoder = corpus_encoder(*tokenizer);
  EXPECT_TRUE(encoder.cut_anywhere);
  tokenize_corpus(quiet({scratch.write("a.txt", "ab")}, scratch / "out"), encoder);
  EXPECT_THAT(tokens_of(scratch / "out"), ElementsAre('a', 'b'));
}

TEST(TokenizeCorpus, MissingInputLeavesNoOutput) {
  const ScratchDir scratch;
  const auto good = scratch.write("a.txt", "x");
  EXPECT_THROW(tokenize_corpus(quiet({good, scratch / "no.txt"}, scratch / "out"), byte_encoder()), Error);
  EXPECT_THROW(tokenize_corpus(quiet({}, scratch / "out"), byte_encoder()), Error);
  EXPECT_THAT(scratch.files(), ElementsAre("a.txt"));
}

TEST(OrderedWorkers, ResultsComeInTheOrderOfTheirJobs) {
  OrderedWorkers<int> workers(4);
  for (int i = 0; i < 100; ++i) {
    workers.give([i] {
      std::this_thread::sleep_for(std::chrono::microseconds(i % 3 * 300));
      if (i == 70) throw Error(ErrorCode::bad_data, "test", "seventy");
      return i;
    });
  }
  for (int i = 0; i < 70; ++i) EXPECT_EQ(workers.take(), i);
  EXPECT_THAT(error_of([&] { workers.take(); }), HasSubstr("seventy"));
  EXPECT_EQ(workers.take(), 71);
}

TEST(ByteProgress, LineTellsRateAndRemainingTime) {
  EXPECT_EQ(ByteProgress::line(1000000, 4000000, 2.0), "1.0 of 4.0 MB, 0.5 MB/s, 6 s left");
  EXPECT_EQ(ByteProgress::line(1000000, 1001000000, 2.0), "1.0 of 1001.0 MB, 0.5 MB/s, 33 min 20 s left");
  EXPECT_EQ(ByteProgress::line(3000000, std::nullopt, 2.0), "3.0 MB, 1.5 MB/s");
  EXPECT_EQ(ByteProgress::line(0, 4000000, 0.0), "0.0 of 4.0 MB, 0.0 MB/s");
}

}  // namespace
}  // namespace trident
