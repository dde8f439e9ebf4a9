#include "data/corpus_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/data/index_bytes.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::error_of;
using test::ScratchDir;
using testing::HasSubstr;
using Options = CorpusReader::Options;

struct Parts {
  std::string train;
  std::string validation;
  std::vector<CorpusChunk> chunks;
};

Parts read_all(const Options& options, const CorpusReader::CutTest& can_cut = nullptr) {
  CorpusReader reader(options, can_cut);
  Parts parts;
  while (auto chunk = reader.next()) {
    (chunk->validation ? parts.validation : parts.train) += chunk->bytes;
    parts.chunks.push_back(std::move(*chunk));
  }
  return parts;
}

bool always(std::string_view, size_t) { return true; }
bool never(std::string_view, size_t) { return false; }

TEST(CorpusReader, ChunksJoinToTheFileWhateverTheirSize) {
  const ScratchDir scratch;
  const std::string text = "Fourscore and\nseven years\n\nago our fathers\nbrought forth.\n";
  const auto path = scratch.write("a.txt", text);
  for (int64_t chunk_bytes = 1; chunk_bytes < 80; ++chunk_bytes) {
    for (const auto& test :
         {CorpusReader::CutTest(nullptr), CorpusReader::CutTest(always), CorpusReader::CutTest(never)}) {
      const auto parts = read_all({.files = {path}, .chunk_bytes = chunk_bytes}, test);
      EXPECT_EQ(parts.train, text);
      for (size_t i = 0; i < parts.chunks.size(); ++i) {
        EXPECT_EQ(parts.chunks[i].ends_document, i + 1 == parts.chunks.size());
      }
    }
  }
  EXPECT_EQ(read_all({.files = {path}, .chunk_bytes = 4}, never).chunks.size(), 1U);
  EXPECT_GT(read_all({.files = {path}, .chunk_bytes = 4}, always).chunks.size(), 4U);
}

TEST(CorpusReader, CutsTextBeforeAWordOnly) {
  const ScratchDir scratch;
  const auto path = scratch.write("a.txt", "one two\nthree\n\nfour  five é six\n/seven .\n8 nine\n\n");
  for (const auto& chunk : read_all({.files = {path}, .chunk_bytes = 3}, always).chunks) {
    if (chunk.begins_file) continue;
    EXPECT_THAT(chunk.bytes, testing::ContainsRegex("^( ?[a-z0-9]|$)"));
  }
}

TEST(CorpusReader, EmptyFilesAreEmptyDocuments) {
  const ScratchDir scratch;
  const auto parts = read_all({.files = {scratch.write("a.txt", ""), scratch.write("b.txt", "x")}});
  ASSERT_EQ(parts.chunks.size(), 2U);
  EXPECT_TRUE(parts.chunks[0].empty_document);
  EXPECT_TRUE(parts.chunks[0].ends_document);
  EXPECT_FALSE(parts.chunks[1].empty_document);
}

TEST(CorpusReader, JsonLinesAreCutAtLinesAndCounted) {
  const ScratchDir scratch;
  std::string text;
  for (int i = 1; i <= 50; ++i) text += std::string(static_cast<size_t>(i % 7), 'x') + "\n";
  const auto path = scratch.write("a.jsonl", text + "last");
  for (int64_t chunk_bytes = 1; chunk_bytes < 40; ++chunk_bytes) {
    const auto parts = read_all({.files = {path}, .chunk_bytes = chunk_bytes}, never);
    EXPECT_EQ(parts.train, text + "last");
    int64_t line = 1;
    for (const auto& chunk : parts.chunks) {
      EXPECT_EQ(chunk.first_line, line);
      EXPECT_FALSE(chunk.ends_document);
      line += std::count(chunk.bytes.begin(), chunk.bytes.end(), '\n');
    }
    EXPECT_EQ(line, 51);
  }
}

TEST(CorpusReader, SetsTheLastFractionAside) {
  const ScratchDir scratch;
  const auto path = scratch.write("a.txt", std::string(190, 'a') + std::string(10, 'b'));
  const auto parts = read_all({.files = {path}, .validation_fraction = 0.05});
  EXPECT_EQ(parts.train, std::string(190, 'a'));
  EXPECT_EQ(parts.validation, std::string(10, 'b'));
  const auto other = scratch.write("b.txt", std::string(100, 'c'));
  EXPECT_EQ(read_all({.files = {path, other}, .validation_fraction = 0.5}).train, std::string(150, 'a'));
  EXPECT_EQ(read_all({.files = {path, other}, .validation_fraction = 1.0 / 3}).train.size(), 200U);
}

TEST(CorpusReader, SplitsAtCharactersAndLines) {
  const ScratchDir scratch;
  const auto text = scratch.write("a.txt", "aé€😀z");  // characters start at 0 1 3 6 10
  for (int percent = 1; percent < 100; ++percent) {
    const auto parts = read_all({.files = {text}, .validation_fraction = percent / 100.0});
    EXPECT_EQ(parts.train + parts.validation, "aé€😀z");
    EXPECT_THAT(std::vector<size_t>({0, 1, 3, 6, 10, 11}), testing::Contains(parts.train.size())) << percent;
  }
  const auto lines = scratch.write("a.jsonl", "{1}\n{22}\n{333}\n");
  const auto parts = read_all({.files = {lines}, .validation_fraction = 0.6});
  EXPECT_EQ(parts.train, "{1}\n{22}\n");
  EXPECT_EQ(parts.chunks.back().first_line, 3);
}

TEST(CorpusReader, MissingFilesFoldersAndFractionsAreErrors) {
  const ScratchDir scratch;
  EXPECT_THAT(error_of([&] { CorpusReader({.files = {scratch / "no.txt"}}, nullptr); }), HasSubstr("no.txt"));
  EXPECT_THAT(error_of([&] { CorpusReader({.files = {scratch / ""}}, nullptr); }), HasSubstr("is a folder"));
  EXPECT_THROW(CorpusReader({.files = {}, .validation_fraction = 1.0}, nullptr), Error);
  EXPECT_THROW(CorpusReader({.files = {}, .validation_fraction = -0.1}, nullptr), Error);
}

}  // namespace
}  // namespace trident
