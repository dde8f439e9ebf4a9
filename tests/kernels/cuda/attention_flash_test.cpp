#include "kernels/cuda/attention_flash.h"

#include <set>
#include <vector>

#include "kernels/cuda/attention_flash_layout.h"
#include "tests/kernels/cuda/gpu.h"

namespace trident::testing {
namespace {

namespace flash = cuda::flash;

// The layout needs no GPU.

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

TEST(Flash, SupportsItsTypesAndSizesOnly) {
  EXPECT_TRUE(cuda::flash_attention_supports({1, 8, 2, 1, 64}, DType::bf16));
  EXPECT_TRUE(cuda::flash_attention_supports({1, 8, 2, 1, 128}, DType::bf16));
  EXPECT_FALSE(cuda::flash_attention_supports({1, 8, 2, 1, 96}, DType::bf16));
  EXPECT_FALSE(cuda::flash_attention_supports({1, 8, 2, 1, 64}, DType::fp32));
}

struct AttentionResults {
  Tensor out, lse, dqkv;
};

class CudaFlashAttention : public GpuTest {
 protected:
  using Results = AttentionResults;

  static Shape out_shape(const AttentionShape& s) { return {s.batch, s.sequence, s.heads * s.head_dim}; }
  static Shape lse_shape(const AttentionShape& s) { return {s.batch, s.heads, s.sequence}; }
  static Tensor random_qkv(const AttentionShape& s) {
    return random_tensor({s.batch, s.sequence, s.qkv_columns()}, DType::bf16, 1);
  }
  static Tensor random_dout(const AttentionShape& s) { return random_tensor(out_shape(s), DType::bf16, 2); }

  [[nodiscard]] Results on_gpu(const AttentionShape& s, const Tensor& qkv, const Tensor& dout) const {
    const Tensor device_qkv = upload(qkv), device_dout = upload(dout);
    Tensor out = poisoned_on_gpu(out_shape(s), DType::bf16), lse = poisoned_on_gpu(lse_shape(s), DType::fp32);
    Tensor dqkv = poisoned_on_gpu(qkv.shape(), DType::bf16);
    cuda::flash_attention_forward(gpu, s, device_qkv, out, lse);
    cuda::flash_attention_backward(gpu, s, device_qkv, out, lse, device_dout, dqkv);
    return {download(out), download(lse), download(dqkv)};
  }
  /// The same by the warpgroups' kernels.
  [[nodiscard]] Results on_warpgroups(const AttentionShape& s, const Tensor& qkv, const Tensor& dout) const {
    const Tensor device_qkv = upload(qkv), device_dout = upload(dout);
    Tensor out = poisoned_on_gpu(out_shape(s), DType::bf16), lse = poisoned_on_gpu(lse_shape(s), DType::fp32);
    Tensor dqkv = poisoned_on_gpu(qkv.shape(), DType::bf16);
    cuda::flash_attention_forward_wgmma(gpu, s, device_qkv, out, lse);
    cuda::flash_attention_backward_wgmma(gpu, s, device_qkv, out, lse, device_dout, dqkv);
    return {download(out), download(lse), download(dqkv)};
  }
  [[nodiscard]] Results on_cpu(const AttentionShape& s, const Tensor& qkv, const Tensor& dout) const {
    Results result{poisoned(out_shape(s), DType::fp64), poisoned(lse_shape(s), DType::fp64),
                   poisoned(qkv.shape(), DType::fp64)};
    const Tensor wide = in_fp64(qkv);
    attention_forward(cpu, s, wide, result.out, result.lse);
    attention_backward(cpu, s, wide, result.out, result.lse, in_fp64(dout), result.dqkv);
    return result;
  }
};

/// Columns [begin, end) of every row, in fp64.
Tensor columns_of(const Tensor& tensor, int64_t begin, int64_t end) {
  Tensor part = HeapAllocator().allocate({tensor.rows(), end - begin}, DType::fp64);
  for (int64_t row = 0; row < tensor.rows(); ++row) {
    for (int64_t column = begin; column < end; ++column)
      set(part, row * (end - begin) + column - begin, get(tensor, row * tensor.columns() + column));
  }
  return part;
}

void expect_close(const AttentionShape& s, const AttentionResults& found, const AttentionResults& expected) {
  const double allowed = allowed_error(DType::bf16);
  EXPECT_LE(relative_error(found.out, expected.out), allowed);
  EXPECT_LE(relative_error(found.lse, expected.lse), allowed_error(DType::fp32));
  EXPECT_LE(relative_error(found.dqkv, expected.dqkv), allowed);
  if (s.sequence == 1) return;  // one key has all of the probability: no gradient but the value's
  const int64_t ends[] = {0, s.heads * s.head_dim, (s.heads + s.kv_heads) * s.head_dim, s.qkv_columns()};
  for (int part = 0; part < 3; ++part) {
    EXPECT_LE(relative_error(columns_of(found.dqkv, ends[part], ends[part + 1]),
                             columns_of(expected.dqkv, ends[part], ends[part + 1])),
              allowed)
        << "d"
        << "qkv"[part];
  }
}

TEST_F(CudaFlashAttention, MatchesTheCpu) {
  for (const int64_t sequence : {1, 17, 63, 64, 65, 127, 128, 129, 200, 384}) {
    for (const int64_t head_dim : {64, 128}) {
      for (const auto& [heads, kv_heads] : {std::pair{2, 2}, {4, 1}, {6, 2}}) {
        const AttentionShape s{sequence < 130 ? 2 : 1, sequence, heads, kv_heads, head_dim};
        const std::string name = "t " + std::to_string(sequence) + " d " + std::to_string(head_dim) + " h " +
                                 std::to_string(heads) + "/" + std::to_string(kv_heads);
        const Tensor qkv = random_qkv(s), dout = random_dout(s);
        const Results expected = on_cpu(s, qkv, dout);
        {
          SCOPED_TRACE(name);
          expect_close(s, on_gpu(s, qkv, dout), expected);
        }
        {
          SCOPED_TRACE(name + " on warpgroups");
          expect_close(s, on_warpgroups(s, qkv, dout), expected);
        }
      }
    }
  }
}

TEST_F(CudaFlashAttention, EveryRunReturnsTheSameBits) {
  for (const int64_t head_dim : {64, 128}) {
    const AttentionShape s{2, 333, 6, 2, head_dim};
    const Tensor qkv = random_qkv(s), dout = random_dout(s);
    const Results first = on_gpu(s, qkv, dout), first_of_warpgroups = on_warpgroups(s, qkv, dout);
    for (int run = 0; run < 3; ++run) {
      const Results again = on_gpu(s, qkv, dout);
      EXPECT_TRUE(same_bits(again.out, first.out));
      EXPECT_TRUE(same_bits(again.lse, first.lse));
      EXPECT_TRUE(same_bits(again.dqkv, first.dqkv));
      const Results of_warpgroups = on_warpgroups(s, qkv, dout);
      EXPECT_TRUE(same_bits(of_warpgroups.out, first_of_warpgroups.out));
      EXPECT_TRUE(same_bits(of_warpgroups.lse, first_of_warpgroups.lse));
      EXPECT_TRUE(same_bits(of_warpgroups.dqkv, first_of_warpgroups.dqkv));
    }
  }
}

TEST_F(CudaFlashAttention, LargeScoresDoNotOverflow) {
  const AttentionShape s{1, 150, 2, 1, 128};
  Tensor qkv = random_qkv(s);
  for (int64_t i = 0; i < qkv.elements(); ++i) set(qkv, i, 16.0 * get(qkv, i));
  const Tensor dout = random_dout(s);
  const Results found = on_gpu(s, qkv, dout), expected = on_cpu(s, qkv, dout);
  EXPECT_LE(relative_error(found.out, expected.out), allowed_error(DType::bf16));
  EXPECT_LE(relative_error(found.lse, expected.lse), allowed_error(DType::fp32));
  const Results warpgroups = on_warpgroups(s, qkv, dout);
  EXPECT_LE(relative_error(warpgroups.out, expected.out), allowed_error(DType::bf16));
  EXPECT_LE(relative_error(warpgroups.lse, expected.lse), allowed_error(DType::fp32));
  for (const double value : values(found.dqkv)) ASSERT_TRUE(std::isfinite(value));
  for (const double value : values(warpgroups.dqkv)) ASSERT_TRUE(std::isfinite(value));
}

// Products of whole tiles carry it a little further back in the gradients: zero times NaN is NaN.
TEST_F(CudaFlashAttention, NanInOnePositionReachesItsTileAndItsFutureOnly) {
  const AttentionShape s{1, 150, 1, 1, 64};
  Tensor qkv = random_qkv(s);
  set(qkv, 70 * s.qkv_columns() + 64, std::nan(""));  // a key
  const Tensor dout = random_dout(s);
  for (const Results& found : {on_gpu(s, qkv, dout), on_warpgroups(s, qkv, dout)}) {
    for (int64_t t = 0; t < s.sequence; ++t) {
      EXPECT_EQ(std::isnan(get(found.out, t * 64)), t >= 70) << t;
      if (t >= 64 && t < 70) continue;
      EXPECT_EQ(std::isnan(get(found.dqkv, t * s.qkv_columns())), t >= 70) << t;
    }
  }
}

TEST_F(CudaFlashAttention, NothingIsDoneForNothing) {
  const AttentionShape s{0, 10, 2, 1, 64};
  const Tensor qkv = random_qkv(s), dout = random_dout(s);
  EXPECT_EQ(on_gpu(s, qkv, dout).out.elements(), 0);
  EXPECT_EQ(on_warpgroups(s, qkv, dout).out.elements(), 0);
}

}  // namespace
}  // namespace trident::testing
