#include "data/validation_data.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/data/index_bytes.h"
#include "tests/scratch_dir.h"

namespace trident {
namespace {

using test::error_of;
using test::packed;
using test::ScratchDir;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;

std::string counting(int64_t tokens) {
  std::vector<int64_t> values(static_cast<size_t>(tokens));
  std::iota(values.begin(), values.end(), 0);
  return packed<uint16_t>(values);
}

TEST(ValidationData, EveryTokenButTheFirstIsALabelOnce) {
  for (int64_t tokens = 2; tokens <= 14; ++tokens) {
    const ScratchDir scratch;
    const ValidationData data(scratch.write("v.bin", counting(tokens)), 4, 100);
    for (int64_t batch_size = 1; batch_size <= 5; ++batch_size) {
      std::vector<int32_t> labels;
      for (int64_t first = 0; first < data.windows(); first += batch_size) {
        TokenBatch batch;
        data.fill(batch, first, batch_size);
        for (size_t i = 0; i < batch.labels.size(); ++i) {
          if (batch.labels[i] == masked_label) {
            EXPECT_EQ(batch.inputs[i], 0);
            continue;
          }
          EXPECT_EQ(batch.inputs[i], batch.labels[i] - 1);
          labels.push_back(batch.labels[i]);
        }
      }
      std::vector<int32_t> expected(static_cast<size_t>(tokens - 1));
      std::iota(expected.begin(), expected.end(), 1);
      EXPECT_EQ(labels, expected);
      EXPECT_EQ(data.labels(), tokens - 1);
    }
  }
}

TEST(ValidationData, LastWindowIsMaskedBeyondTheEnd) {
  const ScratchDir scratch;
  const ValidationData data(scratch.write("v.bin", counting(7)), 4, 100);
  EXPECT_EQ(data.windows(), 2);
  TokenBatch batch;
  data.fill(batch, 1, 2);
  EXPECT_THAT(batch.inputs, ElementsAre(4, 5, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(batch.labels, ElementsAre(5, 6, -1, -1, -1, -1, -1, -1));
  data.fill(batch, int64_t{1} << 40, 1);
  EXPECT_THAT(batch.labels, Each(masked_label));
}

TEST(ValidationData, NeedsTwoTokens) {
  const ScratchDir scratch;
  const auto path = scratch.write("v.bin", counting(1));
  EXPECT_THAT(error_of([&] { ValidationData(path, 4, 100); }), HasSubstr("has 1 tokens"));
}

}  // namespace
}  // namespace trident
