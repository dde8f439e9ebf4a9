#include "launch/layout_choice.h"

#include <gtest/gtest.h>

namespace trident {
namespace {

bool any(const MeshShape&) { return true; }

TEST(LayoutChoice, TheWishWhereAllRanksAreThere) {
  EXPECT_EQ(choose_layout({2, 2, 2}, {8, 1}, any), (MeshShape{2, 2, 2}));
  EXPECT_EQ(choose_layout({2, 1, 2}, {16, 1}, any), (MeshShape{2, 1, 2}));
}

TEST(LayoutChoice, MostRanksAtWorkThenMostStages) {
  EXPECT_EQ(choose_layout({4, 2, 1}, {6, 1}, any), (MeshShape{3, 2, 1}));
  EXPECT_EQ(choose_layout({2, 1, 2}, {3, 1}, any), (MeshShape{1, 1, 2}));
  EXPECT_EQ(choose_layout({2, 1, 4}, {7, 1}, any), (MeshShape{2, 1, 3}));
  EXPECT_EQ(choose_layout({4, 1, 2}, {3, 1}, any), (MeshShape{3, 1, 1}));
}

TEST(LayoutChoice, OnlyWhatIsLegal) {
  const auto even = [](const MeshShape& shape) { return shape.dp != 3; };
  EXPECT_EQ(choose_layout({4, 2, 1}, {6, 1}, even), (MeshShape{2, 2, 1}));
  EXPECT_FALSE(choose_layout({4, 2, 1}, {6, 1}, [](const MeshShape&) { return false; }));
}

TEST(LayoutChoice, NotBelowTheFloorNorWithAnotherTp) {
  EXPECT_FALSE(choose_layout({4, 2, 1}, {6, 7}, any));
  EXPECT_FALSE(choose_layout({1, 4, 2}, {3, 1}, any));
  EXPECT_EQ(choose_layout({1, 4, 2}, {7, 1}, any), (MeshShape{1, 4, 1}));
}

}  // namespace
}  // namespace trident
