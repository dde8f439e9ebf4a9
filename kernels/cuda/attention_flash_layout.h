#pragma once

#include <algorithm>
#include <cstdint>

/// Where the flash kernels keep tiles in shared memory, and what each lane holds of a tensor core's operands. Plain
/// arithmetic that the host can check.
namespace trident::cuda::flash {

inline constexpr int kChunk = 8;          ///< bf16 that one 16-byte access moves
inline constexpr int kBlock = 16;         ///< tensor cores take operands in blocks of 16×16
inline constexpr int kPanelColumns = 64;  ///< tiles are cut into panels whose rows are as long as all banks
inline constexpr int kRowBytes = 128;

template <int kRows, int kColumns>
inline constexpr uint32_t kTileBytes = uint32_t{kRows} * kColumns * 2;

/// Byte offset of 16-byte chunk `chunk` of row `row` in a tile of kRows rows: panels one after the other, in each the
/// chunks of a row permuted by its number, so that the same chunk of 8 successive rows lies in different banks. This is
/// the 128-byte swizzle of the tensor memory accelerator, whose pattern repeats every 1024 bytes.
template <int kRows>
constexpr uint32_t chunk_offset(int row, int chunk) {
  return static_cast<uint32_t>(chunk / 8 * kRows * kRowBytes + row * kRowBytes + (chunk ^ row) % 8 * 16);
}

// ldmatrix.x4 loads four 8×8 matrices, whose rows lanes 0–7, 8–15, 16–23 and 24–31 address. Lane l then holds of each
// matrix elements 2·(l mod 4) and + 1 of row l / 4, or, transposed, of column l / 4.
//
// mma.m16n8k16, with g = lane / 4 and t = lane mod 4, and two neighbours in every register:
//   A [16×16]: a0 row g, columns 2t; a1 row g + 8, columns 2t; a2 row g, columns 2t + 8; a3 row g + 8, columns 2t + 8.
//   B [k 16 × n 8]: b0 rows 2t of column g, b1 rows 2t + 8 of column g.
//   C [16×8]: c0, c1 row g, columns 2t, 2t + 1; c2, c3 row g + 8.

/// What a lane addresses in block (0, 0) so that its four registers are: A, of a tile [m, k]; or, transposed, B of two
/// neighbouring n-tiles (b0, b1, b0, b1), of a tile [k, n].
constexpr uint32_t lane_offset_by_rows(int lane) { return chunk_offset<kBlock>(lane % 16, lane / 16); }

/// The same for B of two neighbouring n-tiles, of a tile [n, k].
constexpr uint32_t lane_offset_by_columns(int lane) {
  return chunk_offset<kBlock>(lane % 8 + lane / 16 * 8, lane / 8 % 2);
}

/// The lane's offset in block (row_block, column_block) of a tile of kRows rows, from that in block (0, 0).
template <int kRows>
constexpr uint32_t block_offset(uint32_t lane_offset, int row_block, int column_block) {
  return (lane_offset ^ static_cast<uint32_t>(column_block % 4 * 32)) +
         static_cast<uint32_t>(row_block * kBlock * kRowBytes + column_block / 4 * kRows * kRowBytes);
}

/// How a warpgroup's products find a tile's blocks in shared memory: a descriptor of the 128-byte swizzle. `address` is
/// that of the block's first element, not permuted. Rows [rows, k] lie in groups of 8, 1024 bytes apart; of a tile
/// [k, columns] as well, where further columns are in the next panel.
constexpr uint64_t tile_descriptor(uint32_t address, uint32_t panel_bytes) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62, kGroupBytes = 8 * kRowBytes;
  return kSwizzle128 | kGroupBytes / 16 << 32 | uint64_t{panel_bytes / 16} << 16 | (address & 0x3ffff) / 16;
}

/// Row and column in C of a lane's value c[i].
constexpr int accumulator_row(int lane, int i) { return lane / 4 + i / 2 * 8; }
constexpr int accumulator_column(int lane, int i) { return lane % 4 * 2 + i % 2; }

/// Key tiles that queries [first_query, first_query + queries) see.
constexpr int key_tiles_seen(int first_query, int queries, int keys, int sequence) {
  return (std::min(first_query + queries, sequence) + keys - 1) / keys;
}

/// The first query tile that sees any key from first_key on.
constexpr int first_query_tile(int first_key, int queries) { return first_key / queries; }

}  // namespace trident::cuda::flash
