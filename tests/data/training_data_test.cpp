#include "data/training_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "data/indexed_dataset_writer.h"
#include "tests/data/index_bytes.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::error_of;
using test::ScratchDir;
using testing::ElementsAre;
using testing::HasSubstr;

/// A data set of tokens first, first+1, … in documents of the given lengths.
std::string write_counting(const ScratchDir& scratch, const std::string& name, int32_t first,
                           const std::vector<int32_t>& documents) {
  IndexedDatasetWriter writer(scratch / name, TokenDType::uint16);
  for (const int32_t length : documents) {
    std::vector<int32_t> tokens(static_cast<size_t>(length));
    std::iota(tokens.begin(), tokens.end(), first);
    first += length;
    writer.append(tokens);
    writer.end_document();
  }
  writer.finish();
  return scratch / name;
}

TEST(TrainingData, UnshuffledSamplesAreInFileOrderAndWrapAround) {
  const ScratchDir scratch;
  const auto path = write_counting(scratch, "a", 0, {15});
  const TrainingData data({.sources = {{path}}, .sequence_length = 4, .vocab_size = 100, .shuffle = false});
  EXPECT_EQ(data.samples_per_epoch(), 3);  // 14 / 4
  TokenBatch batch;
  data.fill(batch, 2, 2);
  EXPECT_THAT(batch.inputs, ElementsAre(8, 9, 10, 11, 0, 1, 2, 3));
  EXPECT_THAT(batch.labels, ElementsAre(9, 10, 11, 12, 1, 2, 3, 4));
}

TEST(TrainingData, ExactlyOneSampleFits) {
  const ScratchDir scratch;
  const auto path = write_counting(scratch, "a", 0, {5});
  const TrainingData data({.sources = {{path}}, .sequence_length = 4, .vocab_size = 5});
  EXPECT_EQ(data.samples_per_epoch(), 1);
  TokenBatch batch;
  data.fill(batch, 1000, 1);
  EXPECT_THAT(batch.labels, ElementsAre(1, 2, 3, 4));
}

TEST(TrainingData, TooSmallADataSetIsRefusedWithNumbers) {
  const ScratchDir scratch;
  const auto path = write_counting(scratch, "a", 0, {4});
  const auto message = error_of([&] { TrainingData({.sources = {{path}}, .sequence_length = 4, .vocab_size = 100}); });
  EXPECT_THAT(message, HasSubstr("has 4 tokens"));
  EXPECT_THAT(message, HasSubstr("needs 5"));
  EXPECT_THAT(message, HasSubstr("to at most 3"));
  const auto empty = write_counting(scratch, "b", 0, {});
  EXPECT_THAT(error_of([&] { TrainingData({.sources = {{empty}}, .sequence_length = 4, .vocab_size = 100}); }),
              HasSubstr("has 0 tokens"));
  EXPECT_THAT(error_of([&] { TrainingData({.sequence_length = 4, .vocab_size = 100}); }), HasSubstr("no data set"));
}

TEST(TrainingData, EveryEpochVisitsEverySampleOnceInItsOwnOrder) {
  const ScratchDir scratch;
  const auto path = write_counting(scratch, "a", 0, {1001});
  const TrainingData data({.sources = {{path}}, .sequence_length = 10, .vocab_size = 2000, .seed = 3});
  std::vector<std::vector<int64_t>> epochs(3);
  for (int64_t g = 0; g < 300; ++g) {
    const auto where = data.locate(g);
    EXPECT_EQ(where.epoch, g / 100);
    epochs[static_cast<size_t>(where.epoch)].push_back(where.first_token);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  for (auto& epoch : epochs) {
    EXPECT_FALSE(std::is_sorted(epoch.begin(), epoch.end()));
    std::sort(epoch.begin(), epoch.end());
    for (int64_t i = 0; i < 100; ++i) EXPECT_EQ(epoch[static_cast<size_t>(i)], 10 * i);
  }
}

TEST(TrainingData, RanksSeeTheirPartsOfTheSameOrder) {
  const ScratchDir scratch;
  const auto path = write_counting(scratch, "a", 0, {997});
  const TrainingData data({.sources = {{path}}, .sequence_length = 7, .vocab_size = 2000, .seed = 8});
  TokenBatch whole;
  TokenBatch part;
  data.fill(whole, 24, 12);
  for (int64_t rank = 0; rank < 4; ++rank) {
    data.fill(part, 24 + 3 * rank, 3);
    EXPECT_TRUE(std::equal(part.inputs.begin(), part.inputs.end(), whole.inputs.begin() + 21 * rank));
    EXPECT_TRUE(std::equal(part.labels.begin(), part.labels.end(), whole.labels.begin() + 21 * rank));
  }
}

TEST(TrainingData, SourcesAreMixedByWeightAndRunThroughTheirOwnEpochs) {
  const ScratchDir scratch;
  const auto a = write_counting(scratch, "a", 0, {101});
  const auto b = write_counting(scratch, "b", 1000, {31});
  const TrainingData data(
      {.sources = {{a, 3.0}, {b, 1.0}}, .sequence_length = 10, .vocab_size = 2000, .seed = 1, .shuffle = true});
  EXPECT_EQ(data.samples_per_epoch(), 13);
  EXPECT_EQ(data.tokens(), 132);
  TokenBatch batch;
  data.fill(batch, 0, 400);
  int64_t from_b = 0;
  for (int64_t row = 0; row < 400; ++row) from_b += batch.inputs[static_cast<size_t>(10 * row)] >= 1000;
  EXPECT_EQ(from_b, 100);
}

TEST(TrainingData, CopiesOfOneDataSetAreNotInStep) {
  const ScratchDir scratch;
  const auto a = write_counting(scratch, "a", 0, {1001});
  const TrainingData data({.sources = {{a}, {a}}, .sequence_length = 10, .vocab_size = 2000, .seed = 1});
  int64_t equal = 0;
  for (int64_t g = 0; g < 200; g += 2) equal += data.locate(g).first_token == data.locate(g + 1).first_token;
  EXPECT_LT(equal, 10);
}

TEST(TrainingData, DocumentEndsAreExposedButNothingIsMasked) {
  const ScratchDir scratch;
  const auto path = write_counting(scratch, "a", 0, {3, 5, 1, 8});
  const TrainingData data({.sources = {{path}}, .sequence_length = 4, .vocab_size = 100, .shuffle = false});
  TokenBatch batch;
  data.fill(batch, 0, 4);
  EXPECT_THAT(batch.document_ends(0), ElementsAre(3));
  EXPECT_THAT(batch.document_ends(1), ElementsAre(4));  // between its last input and its last label
  EXPECT_THAT(batch.document_ends(2), ElementsAre(1));
  EXPECT_THAT(batch.document_ends(3), ElementsAre());
  EXPECT_EQ(std::count(batch.labels.begin(), batch.labels.end(), masked_label), 0);
}

TEST(TrainingData, TokensBeyondTheVocabularyAreRefused) {
  const ScratchDir scratch;
  const auto path = write_counting(scratch, "a", 0, {20});
  const TrainingData data({.sources = {{path}}, .sequence_length = 4, .vocab_size = 10, .shuffle = false});
  TokenBatch batch;
  data.fill(batch, 0, 2);
  EXPECT_THAT(error_of([&] { data.fill(batch, 2, 1); }), HasSubstr("token 10 is 10, expected 0 to 9"));
}

}  // namespace
}  // namespace trident
