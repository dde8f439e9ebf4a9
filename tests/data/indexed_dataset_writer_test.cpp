#include "data/indexed_dataset_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>

#include "data/indexed_dataset.h"
#include "tests/data/index_bytes.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::error_of;
using test::IndexBytes;
using test::packed;
using test::read_file;
using test::ScratchDir;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(TokenDType, FollowsTheVocabulary) {
  EXPECT_EQ(optimal_token_dtype(256), TokenDType::uint16);
  EXPECT_EQ(optimal_token_dtype(65499), TokenDType::uint16);
  EXPECT_EQ(optimal_token_dtype(65500), TokenDType::int32);
}

TEST(IndexedDatasetWriter, BytesAreThePublishedFormat) {
  const ScratchDir scratch;
  IndexedDatasetWriter writer(scratch / "a", TokenDType::uint16);
  writer.append(std::vector<int32_t>{1, 2});
  writer.append(std::vector<int32_t>{65535});
  writer.end_document();
  writer.end_document();  // an empty document
  writer.append(std::vector<int32_t>{7});
  writer.finish();
  EXPECT_EQ(writer.documents(), 3);
  EXPECT_EQ(writer.tokens(), 4);
  EXPECT_EQ(read_file(scratch / "a.bin"), packed<uint16_t>({1, 2, 65535, 7}));
  EXPECT_EQ(read_file(scratch / "a.idx"),
            (IndexBytes{.lengths = {3, 1}, .pointers = {0, 6}, .documents = {0, 1, 1, 2}}.str()));
  EXPECT_THAT(scratch.files(), ElementsAre("a.bin", "a.idx"));
}

TEST(IndexedDatasetWriter, WideTokensAndLargeDocumentsRoundTrip) {
  const ScratchDir scratch;
  std::vector<int32_t> tokens(300000);
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 7919 % 128256);
  IndexedDatasetWriter writer(scratch / "a", TokenDType::int32, 70001);
  writer.append(tokens);
  writer.finish();
  const IndexedDataset data(scratch / "a", 128256);
  EXPECT_EQ(data.documents(), 1);
  std::vector<int32_t> back(tokens.size());
  data.read(0, back);
  EXPECT_EQ(back, tokens);
  // Lengths of 32 bits: the document is five sequences.
  EXPECT_EQ(read_file(scratch / "a.idx").substr(34, 20), packed<int32_t>({70001, 70001, 70001, 70001, 19996}));
}

TEST(IndexedDatasetWriter, EmptyDataSetReadsBack) {
  const ScratchDir scratch;
  IndexedDatasetWriter writer(scratch / "a", TokenDType::uint16);
  writer.finish();
  EXPECT_EQ(IndexedDataset(scratch / "a").documents(), 0);
}

TEST(IndexedDatasetWriter, LeavesNothingUnlessFinished) {
  const ScratchDir scratch;
  scratch.write("a.bin", "old");
  scratch.write("a.idx", "older");
  {
    IndexedDatasetWriter writer(scratch / "a", TokenDType::uint16);
    writer.append(std::vector<int32_t>(3000000, 5));
    EXPECT_THAT(error_of([&] { writer.append(std::vector<int32_t>{65536}); }), HasSubstr("token 65536"));
    EXPECT_THAT(error_of([&] { writer.append(std::vector<int32_t>{-1}); }), HasSubstr("token -1"));
  }
  EXPECT_THAT(scratch.files(), ElementsAre("a.bin", "a.idx"));
  EXPECT_EQ(read_file(scratch / "a.bin"), "old");
  EXPECT_EQ(read_file(scratch / "a.idx"), "older");
}

TEST(IndexedDatasetWriter, ReplacesAnOlderDataSet) {
  const ScratchDir scratch;
  for (const int32_t token : {1, 2}) {
    IndexedDatasetWriter writer(scratch / "a", TokenDType::uint16);
    writer.append(std::vector<int32_t>(static_cast<size_t>(token), token));
    writer.finish();
  }
  EXPECT_EQ(read_file(scratch / "a.bin"), packed<uint16_t>({2, 2}));
  EXPECT_EQ(IndexedDataset(scratch / "a").tokens(), 2);
}

TEST(IndexedDatasetWriter, MissingFolderIsNamed) {
  const ScratchDir scratch;
  EXPECT_THAT(error_of([&] { IndexedDatasetWriter(scratch / "no/a", TokenDType::uint16); }), HasSubstr("no/a.bin"));
}

// A limit on the file's size stands for a full disk: write() fails after some bytes in the same way.
TEST(IndexedDatasetWriter, FullDiskIsAnErrorThatNamesTheFile) {
  const ScratchDir scratch;
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit limited = before;
  limited.rlim_cur = 100000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limited), 0);
  std::string message;
  {
    IndexedDatasetWriter writer(scratch / "a", TokenDType::uint16);
    message = error_of([&] {
      writer.append(std::vector<int32_t>(1000000, 5));
      writer.finish();
    });
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(message, HasSubstr((scratch / "a.bin").string() + ": cannot write"));
  EXPECT_THAT(scratch.files(), ElementsAre());
}

}  // namespace
}  // namespace trident
