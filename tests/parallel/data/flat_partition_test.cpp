#include "parallel/data/flat_partition.h"

#include <gtest/gtest.h>

namespace trident {
namespace {

TEST(FlatPartition, EveryElementHasOneOwner) {
  for (const int64_t elements : {0, 1, 63, 64, 65, 1000, 64 * 24, 100003}) {
    for (int ranks = 1; ranks <= 9; ++ranks) {
      for (const int64_t bucket : {1, 500, 4096, 1 << 20}) {
        const FlatPartition partition(elements, ranks, bucket);
        int64_t next = 0;
        for (int index = 0; index < partition.buckets(); ++index) {
          EXPECT_EQ(partition.bucket(index).begin, next);
          for (int rank = 0; rank < ranks; ++rank) {
            const FlatSpan part = partition.part(index, rank);
            EXPECT_EQ(part.begin, next);
            EXPECT_EQ(part.begin % FlatPartition::kCell, 0);
            EXPECT_TRUE(part.size() == partition.equal_part(index) || rank + 1 == ranks);
            next = part.end;
          }
          EXPECT_EQ(partition.bucket(index).end, next);
          EXPECT_TRUE(partition.remainder(index).size() == 0 || index + 1 == partition.buckets());
        }
        EXPECT_EQ(next, elements);
      }
    }
  }
}

TEST(FlatPartition, OneRankOwnsOneSpan) {
  EXPECT_EQ(FlatPartition(1000, 1, 64).owned(0), (std::vector<FlatSpan>{{0, 1000}}));
}

TEST(FlatPartition, TooLittleForAllGoesToTheLast) {
  const FlatPartition partition(200, 5, 64);
  for (int rank = 0; rank < 4; ++rank) EXPECT_TRUE(partition.owned(rank).empty());
  EXPECT_EQ(partition.owned(4), (std::vector<FlatSpan>{{0, 200}}));
}

}  // namespace
}  // namespace trident
