#include "checkpoint/logical_block.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "core/error.h"

namespace trident {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(LogicalBlock, WholeTensorsAreRowsOfTheOutermostDimension) {
  EXPECT_EQ(whole_block({7}), (LogicalBlock{0, 7, 0, 1}));
  EXPECT_EQ(whole_block({3, 5}), (LogicalBlock{0, 3, 0, 5}));
  EXPECT_EQ(whole_block({2, 3, 4}), (LogicalBlock{0, 2, 0, 12}));
}

TEST(LogicalBlock, RunsAreHeadBodyAndTail) {
  const LogicalBlock part{10, 4, 20, 5};
  EXPECT_THAT(rectangles_of(part, 3, 0), IsEmpty());
  EXPECT_THAT(rectangles_of(part, 20, 0), IsEmpty());
  EXPECT_THAT(rectangles_of(part, 0, 20), ElementsAre(part));
  EXPECT_THAT(rectangles_of(part, 6, 3), ElementsAre(LogicalBlock{11, 1, 21, 3}));
  EXPECT_THAT(rectangles_of(part, 5, 10), ElementsAre(LogicalBlock{11, 2, 20, 5}));
  EXPECT_THAT(rectangles_of(part, 3, 14),
              ElementsAre(LogicalBlock{10, 1, 23, 2}, LogicalBlock{11, 2, 20, 5}, LogicalBlock{13, 1, 20, 2}));
  EXPECT_THAT(rectangles_of(part, 3, 4), ElementsAre(LogicalBlock{10, 1, 23, 2}, LogicalBlock{11, 1, 20, 2}));
}

TEST(LogicalBlock, EveryRunIsItsRectanglesInOrder) {
  for (const LogicalBlock& part : {LogicalBlock{3, 5, 0, 1}, LogicalBlock{0, 1, 2, 7}, LogicalBlock{2, 4, 3, 5}}) {
    for (int64_t begin = 0; begin <= part.elements(); ++begin) {
      for (int64_t count = 0; begin + count <= part.elements(); ++count) {
        const auto rectangles = rectangles_of(part, begin, count);
        EXPECT_LE(rectangles.size(), 3U);
        int64_t next = begin;
        for (const LogicalBlock& block : rectangles) {
          for (int64_t i = 0; i < block.elements(); ++i, ++next) {
            EXPECT_EQ(block.row0 + i / block.columns, part.row0 + next / part.columns);
            EXPECT_EQ(block.column0 + i % block.columns, part.column0 + next % part.columns);
          }
        }
        EXPECT_EQ(next, begin + count);
      }
    }
  }
}

TEST(LogicalBlock, NothingBeyondThePart) {
  const LogicalBlock part{0, 2, 0, 3};
  EXPECT_THROW((void)rectangles_of(part, 4, 3), Error);
  EXPECT_THROW((void)rectangles_of(part, -1, 2), Error);
  EXPECT_THAT(rectangles_of({0, 0, 0, 3}, 0, 0), IsEmpty());
  EXPECT_THAT(rectangles_of({0, 3, 0, 0}, 0, 0), IsEmpty());
}

}  // namespace
}  // namespace trident
