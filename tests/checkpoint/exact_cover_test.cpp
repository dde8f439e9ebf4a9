#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/manifest.h"
#include "core/error.h"

namespace trident {
namespace {

using ::testing::HasSubstr;

Manifest of_blocks(Shape shape, const std::vector<LogicalBlock>& blocks) {
  Manifest manifest;
  manifest.tensors = {{"weight", shape}};
  manifest.digests.resize(1);
  manifest.rank_files.resize(2);
  for (size_t i = 0; i < blocks.size(); ++i) manifest.rank_files[i % 2].segments.push_back({0, blocks[i], 0});
  return manifest;
}

std::string problem_of(const Manifest& manifest) {
  try {
    require_exact_cover(manifest, "step");
    return {};
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::bad_data);
    return error.problem();
  }
}

/// Cuts a rectangle into random ones, most of them not along common lines.
void cut(const LogicalBlock& block, int cuts, std::mt19937& random, std::vector<LogicalBlock>& out) {
  const bool by_rows = random() % 2 == 0;
  const int64_t size = by_rows ? block.rows : block.columns;
  if (cuts == 0 || size < 2) return out.push_back(block);
  const int64_t at = 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(size - 1));
  LogicalBlock first = block, second = block;
  (by_rows ? first.rows : first.columns) = at;
  (by_rows ? second.rows : second.columns) = size - at;
  (by_rows ? second.row0 : second.column0) += at;
  cut(first, cuts - 1, random, out);
  cut(second, cuts - 1, random, out);
}

/// The same said by counting every element.
std::string counted(int64_t rows, int64_t columns, const std::vector<LogicalBlock>& blocks) {
  std::vector<int> count(static_cast<size_t>(rows * columns));
  for (const LogicalBlock& block : blocks)
    for (int64_t row = block.row0; row < block.row0 + block.rows; ++row)
      for (int64_t column = block.column0; column < block.column0 + block.columns; ++column)
        ++count[static_cast<size_t>(row * columns + column)];
  const auto wrong = std::find_if(count.begin(), count.end(), [](int n) { return n != 1; });
  if (wrong == count.end()) return {};
  const auto at = wrong - count.begin();
  return "step: row " + std::to_string(at / columns) + ", column " + std::to_string(at % columns) +
         " of weight is in " + (*wrong == 0 ? "no segment" : "more than one segment");
}

TEST(ExactCover, AgreesWithCountingForRandomRectangles) {
  std::mt19937 random(7);
  std::map<std::string, int> kinds;
  for (int trial = 0; trial < 3000; ++trial) {
    const int64_t rows = 1 + static_cast<int64_t>(random() % 9), columns = 1 + static_cast<int64_t>(random() % 9);
    std::vector<LogicalBlock> blocks;
    cut({0, rows, 0, columns}, static_cast<int>(random() % 5), random, blocks);
    std::shuffle(blocks.begin(), blocks.end(), random);
    LogicalBlock& changed = blocks[random() % blocks.size()];
    switch (random() % 6) {
      case 0: blocks.pop_back(); break;
      case 1: blocks.push_back(changed); break;
      case 2: changed.rows = 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(rows - changed.row0)); break;
      case 3:
        changed.column0 = static_cast<int64_t>(random() % static_cast<uint64_t>(columns - changed.columns + 1));
        break;
      default: break;
    }
    const std::string expected = counted(rows, columns, blocks);
    ++kinds[expected.substr(expected.rfind(' ', expected.size() - 9) + 1)];
    ASSERT_EQ(problem_of(of_blocks({rows, columns}, blocks)), expected) << "trial " << trial;
  }
  EXPECT_GE(kinds.size(), 3U);  // none, holes, overlaps
}

TEST(ExactCover, RefusesSegmentsOutsideTheirTensor) {
  for (const LogicalBlock& block :
       {LogicalBlock{0, 4, 0, 3}, {0, 3, 1, 3}, {-1, 3, 0, 3}, {0, 0, 0, 3}, {2, -1, 0, 3}, {INT64_MAX, 2, 0, 3}})
    EXPECT_THAT(problem_of(of_blocks({3, 3}, {{0, 3, 0, 3}, block})), HasSubstr("is not in tensor 0"));
  Manifest manifest = of_blocks({3}, {{0, 3, 0, 1}});
  manifest.rank_files[1].segments = {{1, {0, 1, 0, 1}, 0}};
  EXPECT_THAT(problem_of(manifest), HasSubstr("is not in tensor 1"));
}

TEST(ExactCover, NamesATensorWithoutAnySegment) {
  EXPECT_EQ(problem_of(of_blocks({3, 2}, {})), "step: row 0, column 0 of weight is in no segment");
}

// What 1000 ranks may write. Were it quadratic, it would take hours.
TEST(ExactCover, TakesAMillionSegments) {
  constexpr int64_t kSide = 1000;
  std::vector<LogicalBlock> blocks;
  for (int64_t row = 0; row < kSide; ++row)
    for (int64_t column = 0; column < kSide; ++column) blocks.push_back({2 * row, 2, 3 * column, 3});
  EXPECT_EQ(problem_of(of_blocks({2 * kSide, 3 * kSide}, blocks)), "");
  // All columns of one row high at the left, all others as high as the tensor: every row is an event.
  blocks.clear();
  for (int64_t i = 0; i < 200000; ++i) blocks.push_back({i, 1, 0, 1});
  for (int64_t i = 1; i < 200000; ++i) blocks.push_back({0, 200000, i, 1});
  EXPECT_EQ(problem_of(of_blocks({200000, 200000}, blocks)), "");
  blocks.back().rows -= 1;
  EXPECT_EQ(problem_of(of_blocks({200000, 200000}, blocks)),
            "step: row 199999, column 199999 of weight is in no segment");
}

}  // namespace
}  // namespace trident
