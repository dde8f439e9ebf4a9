#include "kernels/cuda/attention_flash_layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

// None of it needs a GPU.

namespace trident::testing {
namespace {

namespace flash = cuda::flash;

template <int kRows>
std::vector<uint32_t> chunks_of_tile(int columns) {
  std::vector<uint32_t> offsets;
  for (int row = 0; row < kRows; ++row) {
    for (int chunk = 0; chunk < columns / flash::kChunk; ++chunk)
      offsets.push_back(flash::chunk_offset<kRows>(row, chunk));
  }
  return offsets;
}

template <int kRows>
void expect_every_chunk_has_its_place() {
  for (const int columns : {64, 128}) {
    std::set<uint32_t> places;
    for (const uint32_t offset : chunks_of_tile<kRows>(columns)) {
      EXPECT_EQ(offset % 16, 0u);
      EXPECT_LT(offset, static_cast<uint32_t>(kRows * columns * 2));
      EXPECT_TRUE(places.insert(offset).second) << offset;
    }
    EXPECT_EQ(places.size(), static_cast<size_t>(kRows * columns / flash::kChunk));
  }
}

TEST(FlashLayout, EveryChunkHasItsPlace) {
  expect_every_chunk_has_its_place<64>();
  expect_every_chunk_has_its_place<128>();
}

/// What ldmatrix.x4 needs of a lane: row and 16-byte chunk inside a block of 16×16.
struct LaneChunk {
  int row, chunk;
};

template <int kRows>
void expect_lanes_address_their_chunks_without_conflicts() {
  const auto expect = [](const auto& lane_offset, const auto& lane_chunk) {
    for (int row_block = 0; row_block < kRows / flash::kBlock; ++row_block) {
      for (int column_block = 0; column_block < 128 / flash::kBlock; ++column_block) {
        std::set<uint32_t> banks;
        for (int lane = 0; lane < 32; ++lane) {
          const LaneChunk c = lane_chunk(lane);
          const uint32_t offset = flash::block_offset<kRows>(lane_offset(lane), row_block, column_block);
          EXPECT_EQ(offset, flash::chunk_offset<kRows>(row_block * flash::kBlock + c.row, column_block * 2 + c.chunk));
          if (lane % 8 == 0) banks.clear();  // eight lanes are served at once
          EXPECT_TRUE(banks.insert(offset / 16 % 8).second) << "lane " << lane;
        }
      }
    }
  };
  expect(flash::lane_offset_by_rows, [](int lane) { return LaneChunk{lane % 16, lane / 16}; });
  expect(flash::lane_offset_by_columns, [](int lane) {
    return LaneChunk{lane % 8 + (lane >= 16 ? 8 : 0), lane / 8 % 2};
  });
}

TEST(FlashLayout, LanesAddressTheirChunksWithoutBankConflicts) {
  expect_lanes_address_their_chunks_without_conflicts<64>();
  expect_lanes_address_their_chunks_without_conflicts<128>();
}

TEST(FlashLayout, ResultsAreWrittenToDifferentBanks) {
  for (int chunk = 0; chunk < 16; ++chunk) {
    for (const int i : {0, 2}) {
      std::set<uint32_t> banks;
      for (int lane = 0; lane < 32; ++lane) {
        const auto offset = flash::chunk_offset<64>(flash::accumulator_row(lane, i), chunk) +
                            static_cast<uint32_t>(flash::accumulator_column(lane, i) * 2);
        EXPECT_TRUE(banks.insert(offset / 4 % 32).second) << "lane " << lane;
      }
    }
  }
}

TEST(FlashLayout, LanesHoldEveryResultOnce) {
  std::set<std::pair<int, int>> places;
  for (int lane = 0; lane < 32; ++lane) {
    for (int i = 0; i < 4; ++i) {
      const int row = flash::accumulator_row(lane, i), column = flash::accumulator_column(lane, i);
      EXPECT_TRUE(row < 16 && column < 8);
      EXPECT_TRUE(places.insert({row, column}).second);
    }
  }
}

/// Bytes that a descriptor's 14 bits from `bit` on stand for.
uint32_t descriptor_bytes(uint64_t descriptor, int bit) {
  return static_cast<uint32_t>(descriptor >> bit & 0x3fff) * 16;
}

/// Where the hardware looks for what a descriptor's arithmetic leads to: bits 7–9 of an address permute bits 4–6.
uint32_t permuted(uint32_t address) { return address ^ address / 128 % 8 * 16; }

TEST(FlashLayout, DescriptorsLeadToTheElements) {
  constexpr int kRows = 128, kColumns = 128;
  constexpr uint32_t kPanelBytes = kRows * flash::kRowBytes;
  for (int row = 0; row < kRows; ++row) {
    for (int column = 0; column < kColumns; ++column) {
      const uint32_t expected =
          flash::chunk_offset<kRows>(row, column / flash::kChunk) + static_cast<uint32_t>(column % flash::kChunk * 2);
      // As [rows, k]: the block of 16 columns is the product's k.
      const uint64_t rows = flash::tile_descriptor(
          static_cast<uint32_t>(column / 64) * kPanelBytes + static_cast<uint32_t>(column % 64 / 16 * 32), kPanelBytes);
      EXPECT_EQ(permuted(descriptor_bytes(rows, 0) + static_cast<uint32_t>(row / 8) * descriptor_bytes(rows, 32) +
                         static_cast<uint32_t>(row % 8 * 128 + column % 16 * 2)),
                expected);
      // As [k, columns]: the block of 16 rows is.
      const uint64_t columns = flash::tile_descriptor(static_cast<uint32_t>(row / 16 * 16 * 128), kPanelBytes);
      EXPECT_EQ(
          permuted(descriptor_bytes(columns, 0) + static_cast<uint32_t>(column / 64) * descriptor_bytes(columns, 16) +
                   static_cast<uint32_t>(row % 16 / 8) * descriptor_bytes(columns, 32) +
                   static_cast<uint32_t>(row % 8 * 128 + column % 64 * 2)),
          expected);
      EXPECT_EQ(rows >> 62, 1u);
    }
  }
}

TEST(FlashLayout, TilesThatSeeEachOtherAreVisited) {
  for (const int sequence : {1, 63, 64, 65, 200, 384}) {
    for (const int queries : {64, 128}) {
      for (const int keys : {64, 128}) {
        for (int query = 0; query < sequence; ++query) {
          const int tile = query / queries, first_query = tile * queries;
          for (int key = 0; key < sequence; ++key) {
            if (key > query) continue;
            EXPECT_LT(key / keys, flash::key_tiles_seen(first_query, queries, keys, sequence));
            EXPECT_GE(tile, flash::first_query_tile(key / keys * keys, queries));
          }
          // The last of the tiles holds a key that one of the queries sees.
          const int last = flash::key_tiles_seen(first_query, queries, keys, sequence) - 1;
          EXPECT_LE(last * keys, std::min(first_query + queries, sequence) - 1);
        }
      }
    }
  }
}

}  // namespace
}  // namespace trident::testing
