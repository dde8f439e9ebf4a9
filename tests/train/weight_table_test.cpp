#include "train/weight_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "train/word_stream.h"

namespace trident {
namespace {

using ::testing::HasSubstr;

const LogicalBlock kWhole{0, 6, 0, 10};

HeldRun run_of(const LogicalBlock& part, int64_t begin, int64_t count, int64_t piece = 0) {
  return {"w", kWhole, part, DType::fp32, piece, begin, count};
}

std::string problem_of(const WeightTable& table) {
  try {
    table.check_complete();
  } catch (const Error& error) {
    return error.problem();
  }
  return {};
}

/// How often every element of the rows is sent, and by whom last.
struct Senders {
  std::vector<int> times, rank;
};

Senders senders_of(const WeightTable& table, int64_t row0, int64_t rows) {
  Senders senders{std::vector<int>(60), std::vector<int>(60, -1)};
  for (const Fragment& fragment : table.fragments("w", row0, rows)) {
    for (int64_t i = fragment.begin; i < fragment.begin + fragment.count; ++i) {
      const LogicalBlock& part = fragment.part;
      const int64_t row = part.row0 + i / part.columns, column = part.column0 + i % part.columns;
      const auto at = static_cast<size_t>(row * kWhole.columns + column);
      ++senders.times[at];
      senders.rank[at] = fragment.rank;
    }
  }
  return senders;
}

TEST(WeightTable, OfReplicasCutInDifferentPlacesTheLowestRankSends) {
  WeightTable table;
  table.add(0, run_of(kWhole, 10, 15));
  table.add(0, run_of(kWhole, 40, 5, 1));
  table.add(1, run_of(kWhole, 0, 45));
  table.add(2, run_of(kWhole, 20, 40));
  table.check_complete();
  const Senders senders = senders_of(table, 0, 6);
  for (size_t i = 0; i < 60; ++i) {
    EXPECT_EQ(senders.times[i], 1) << i;
    const bool first = (i >= 10 && i < 25) || (i >= 40 && i < 45);
    EXPECT_EQ(senders.rank[i], first ? 0 : i < 45 ? 1 : 2) << i;
  }
}

TEST(WeightTable, OffsetsCountFromTheHoldersPiece) {
  WeightTable table;
  table.add(0, run_of(kWhole, 0, 7));
  table.add(3, run_of(kWhole, 2, 58, 4));
  const auto fragments = table.fragments("w", 1, 2);
  ASSERT_EQ(fragments.size(), 1u);
  EXPECT_EQ(fragments[0].rank, 3);
  EXPECT_EQ(fragments[0].piece, 4);
  EXPECT_EQ(fragments[0].begin, 10);
  EXPECT_EQ(fragments[0].offset, 8);
  EXPECT_EQ(fragments[0].count, 20);
}

TEST(WeightTable, RowsOfUnequalColumnParts) {
  const LogicalBlock left{0, 6, 0, 7}, right{0, 6, 7, 3};
  WeightTable table;
  table.add(0, run_of(left, 0, 30));
  table.add(1, run_of(left, 30, 12));
  table.add(2, run_of(right, 0, 18));
  table.check_complete();
  for (int64_t row0 = 0; row0 < 6; ++row0) {
    for (int64_t rows = 0; row0 + rows <= 6; ++rows) {
      const Senders senders = senders_of(table, row0, rows);
      for (int64_t i = 0; i < 60; ++i) {
        const bool asked = i / 10 >= row0 && i / 10 < row0 + rows;
        EXPECT_EQ(senders.times[static_cast<size_t>(i)], asked ? 1 : 0) << row0 << " " << rows << " " << i;
      }
    }
  }
}

TEST(WeightTable, MissingElementsAreNamed) {
  WeightTable hole, end, part;
  hole.add(0, run_of(kWhole, 0, 10));
  hole.add(1, run_of(kWhole, 11, 49));
  EXPECT_THAT(problem_of(hole), HasSubstr("no rank holds element 10 of the part of w"));
  end.add(0, run_of(kWhole, 0, 59));
  EXPECT_THAT(problem_of(end), HasSubstr("no rank holds element 59 of the part of w"));
  part.add(0, run_of({0, 3, 0, 10}, 0, 30));
  EXPECT_THAT(problem_of(part), HasSubstr("of 60 elements of w the ranks hold 30"));
  EXPECT_THROW((void)part.fragments("v", 0, 1), Error);
}

TEST(WeightTable, RefusesPartsThatDoNotFitTogether) {
  WeightTable table;
  table.add(0, run_of({0, 3, 0, 10}, 0, 30));
  EXPECT_THROW(table.add(1, run_of({2, 4, 0, 10}, 0, 40)), Error);
  EXPECT_THROW(table.add(1, run_of({3, 4, 0, 10}, 0, 40)), Error);
  EXPECT_THROW(table.add(1, run_of({3, 3, 0, 10}, 1, 30)), Error);
  EXPECT_THROW(table.add(1, {"w", {0, 5, 0, 10}, {3, 2, 0, 10}, DType::fp32, 0, 0, 20}), Error);
}

TEST(WeightTable, RunsTravelAsWords) {
  const std::vector<HeldRun> runs = {{"layers.10.mlp", {0, 6, 0, 10}, {1, 2, 3, 4}, DType::fp64, 5, 6, 7},
                                     {"", {}, {}, DType::fp32, 0, 0, 0},
                                     {"12345678", {}, {}, DType::bf16, 1, 2, 3}};
  const auto words = encode(runs);
  const auto back = decode(words);
  ASSERT_EQ(back.size(), runs.size());
  for (size_t i = 0; i < runs.size(); ++i) {
    EXPECT_EQ(back[i].name, runs[i].name);
    EXPECT_EQ(back[i].whole, runs[i].whole);
    EXPECT_EQ(back[i].part, runs[i].part);
    EXPECT_EQ(back[i].dtype, runs[i].dtype);
    EXPECT_EQ(back[i].piece, runs[i].piece);
    EXPECT_EQ(back[i].begin, runs[i].begin);
    EXPECT_EQ(back[i].count, runs[i].count);
  }
  EXPECT_THROW((void)decode(std::span(words).first(words.size() - 1)), Error);
}

}  // namespace
}  // namespace trident
