#include "kernels/cuda/attention_flash.cuh"
#include "kernels/cuda/attention_flash.h"

// With P = exp(scale · Q·Kᵀ − lse) and dS = P · (dO·Vᵀ − delta), delta = rows of dO · O:
// dV = Pᵀ·dO, dK = scale · dSᵀ·Q, dQ = scale · dS·K. P and dS never leave registers: what one product leaves there is
// the first operand of the next.
namespace trident::cuda {
namespace flash {
namespace {

struct BackwardArguments {
  Sizes sizes;
  const Bf16* qkv;
  const Bf16* dout;
  const float2* rows;  ///< of row_statistics()
  Bf16* dqkv;
};

// Queries past the sequence have rows of zeros, which makes P one and dS zero there; both meet only zeros in dO and Q.
// Keys past the sequence are after every query that counts.

template <int kHeadDim_>
struct BackwardTiles {
  static constexpr int kHeadDim = kHeadDim_;
  static constexpr int kWarps = kHeadDim == 64 ? 4 : 8;
  static constexpr int kBlocksAtOnce = kHeadDim == 64 ? 3 : 1;
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kOwn = kWarps * kBlock;  ///< rows that a block has gradients of, 16 a warp
  static constexpr int kOther = 64;             ///< rows of the tiles that it goes through
  static constexpr int kSlice = 32;             ///< of these at a time, so that scores need few registers
  static constexpr uint32_t kOwnBytes = kTileBytes<kOwn, kHeadDim>;
  static constexpr uint32_t kOtherBytes = kTileBytes<kOther, kHeadDim>;
  static constexpr uint32_t kRowsBytes = kOther * sizeof(float2);
  static constexpr uint32_t kQueryStageBytes = 2 * kOtherBytes + 1024;  ///< keeps tiles at multiples of 1024
  static constexpr uint32_t kKeySharedBytes = 2 * kOwnBytes + 2 * kQueryStageBytes;
  static constexpr uint32_t kQuerySharedBytes = 2 * kOwnBytes + 2 * 2 * kOtherBytes;
  static_assert(kRowsBytes <= 1024);
};

template <int kTiles>
__device__ __forceinline__ void clear(float (&sums)[kTiles][4]) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n) sums[n][0] = sums[n][1] = sums[n][2] = sums[n][3] = 0.0f;
}

/// sums += A · Bᵀ for block d of the head's dimensions: 16 rows of A, whose fragment is given, with kSlice rows of
/// tile B from block first_block on.
template <class C>
__device__ __forceinline__ void multiply_slice(float (&sums)[C::kSlice / 8][4], const uint32_t (&a)[4], uint32_t b,
                                               int first_block, int d) {
  const uint32_t by_columns = lane_offset_by_columns(static_cast<int>(threadIdx.x) % kWarp);
#pragma unroll
  for (int n = 0; n < C::kSlice / kBlock; ++n) {
    uint32_t fragment[4];
    load_matrices(fragment, b + block_offset<C::kOther>(by_columns, first_block + n, d));
    multiply_add(sums[2 * n], a, fragment[0], fragment[1]);
    multiply_add(sums[2 * n + 1], a, fragment[2], fragment[3]);
  }
}

/// sums += A · B, A of 16 rows and one block of B's rows.
template <class C>
__device__ __forceinline__ void multiply_block(float (&sums)[C::kHeadDim / 8][4], const uint32_t (&a)[4], uint32_t b,
                                               int row_block) {
  const uint32_t by_rows = lane_offset_by_rows(static_cast<int>(threadIdx.x) % kWarp);
#pragma unroll
  for (int d = 0; d < C::kHeadDim / kBlock; ++d) {
    uint32_t fragment[4];
    load_matrices_transposed(fragment, b + block_offset<C::kOther>(by_rows, row_block, d));
    multiply_add(sums[2 * d], a, fragment[0], fragment[1]);
    multiply_add(sums[2 * d + 1], a, fragment[2], fragment[3]);
  }
}

// A block is a tile of keys of one key-value head. It goes through the queries that see them, head by head of the
// group, and has the transposes of scores: keys are rows.
template <class C>
__global__ void __launch_bounds__(C::kThreads, C::kBlocksAtOnce) keys_kernel(const BackwardArguments arguments) {
  extern __shared__ __align__(1024) unsigned char shared[];
  const Sizes& sizes = arguments.sizes;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  // Early keys are seen by most queries, so they start first.
  const int all_heads = static_cast<int>(gridDim.x) / divide_up(sizes.sequence, C::kOwn);
  const int all_head = static_cast<int>(blockIdx.x) % all_heads;
  const int kv_head = all_head % sizes.kv_heads, batch = all_head / sizes.kv_heads;
  const int block_key = static_cast<int>(blockIdx.x) / all_heads * C::kOwn;
  const int first_key = block_key + warp * kBlock;
  const int group = sizes.heads / sizes.kv_heads;

  const uint32_t keys = shared_address(shared), values = keys + C::kOwnBytes;
  const auto stage = [&](int step) { return 2 * C::kOwnBytes + step % 2 * C::kQueryStageBytes; };
  const int first_tile = first_query_tile(block_key, C::kOther);
  const int tiles = divide_up(sizes.sequence, C::kOther) - first_tile;
  const int steps = group * tiles;
  const auto load_queries = [&](int step) {
    const int head = kv_head * group + step / tiles, first = (first_tile + step % tiles) * C::kOther;
    const uint32_t to = keys + stage(step);
    load_tile<C::kOther, C::kHeadDim, C::kThreads>(to, arguments.qkv + sizes.query_in_qkv(batch, head),
                                                   sizes.qkv_stride, first, sizes.sequence);
    load_tile<C::kOther, C::kHeadDim, C::kThreads>(to + C::kOtherBytes, arguments.dout + sizes.in_out(batch, head),
                                                   sizes.out_stride, first, sizes.sequence);
    const int row = static_cast<int>(threadIdx.x);
    if (row < C::kOther) {
      const bool valid = first + row < sizes.sequence;
      copy_async_8(to + 2 * C::kOtherBytes + row * static_cast<uint32_t>(sizeof(float2)),
                   arguments.rows + sizes.in_rows(batch, head) + (valid ? first + row : 0), valid);
    }
    commit_copies();
  };
  load_tile<C::kOwn, C::kHeadDim, C::kThreads>(keys, arguments.qkv + sizes.key_in_qkv(batch, kv_head), sizes.qkv_stride,
                                               block_key, sizes.sequence);
  load_tile<C::kOwn, C::kHeadDim, C::kThreads>(values, arguments.qkv + sizes.value_in_qkv(batch, kv_head),
                                               sizes.qkv_stride, block_key, sizes.sequence);
  load_queries(0);

  const float scale_log2 = sizes.scale * kLog2E;
  const uint32_t own = lane_offset_by_rows(lane) + warp * kBlock * kRowBytes;
  float dkeys[C::kHeadDim / 8][4], dvalues[C::kHeadDim / 8][4];
  clear(dkeys);
  clear(dvalues);
  for (int step = 0; step < steps; ++step) {
    wait_for_copies<0>();
    __syncthreads();  // the tile is here, and nobody reads the one before it any more
    if (step + 1 < steps) load_queries(step + 1);
    const int tile_query = (first_tile + step % tiles) * C::kOther;
    const uint32_t queries = keys + stage(step), douts = queries + C::kOtherBytes;
    const auto* const rows = reinterpret_cast<const float4*>(shared + stage(step) + 2 * C::kOtherBytes);
#pragma unroll
    for (int slice = 0; slice < C::kOther; slice += C::kSlice) {
      const int first_query = tile_query + slice;
      if (first_query + C::kSlice <= first_key) continue;  // before all of the warp's keys
      float p[C::kSlice / 8][4], ds[C::kSlice / 8][4];
      clear(p);
      clear(ds);
#pragma unroll
      for (int d = 0; d < C::kHeadDim / kBlock; ++d) {
        uint32_t a[4];
        load_matrices(a, keys + block_offset<C::kOwn>(own, 0, d));
        multiply_slice<C>(p, a, queries, slice / kBlock, d);
        load_matrices(a, values + block_offset<C::kOwn>(own, 0, d));
        multiply_slice<C>(ds, a, douts, slice / kBlock, d);
      }
      const bool masked = first_query < first_key + kBlock - 1;
#pragma unroll
      for (int n = 0; n < C::kSlice / 8; ++n) {
        const int column = slice + n * 8 + accumulator_column(lane, 0);
        const float4 two = rows[column / 2];
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const bool hidden = masked && first_key + accumulator_row(lane, i) > tile_query + column + i % 2;
          const float exponent = fmaf(p[n][i], scale_log2, i % 2 == 0 ? -two.x : -two.z);
          p[n][i] = exp2_approximate(hidden ? -INFINITY : exponent);
          ds[n][i] = p[n][i] * (ds[n][i] - (i % 2 == 0 ? two.y : two.w));
        }
      }
#pragma unroll
      for (int k = 0; k < C::kSlice / kBlock; ++k) {
        uint32_t a[4];
        as_operand(a, p[2 * k], p[2 * k + 1]);
        multiply_block<C>(dvalues, a, douts, slice / kBlock + k);
        as_operand(a, ds[2 * k], ds[2 * k + 1]);
        multiply_block<C>(dkeys, a, queries, slice / kBlock + k);
      }
    }
  }

  store_block_rows<C::kOwn, C::kHeadDim>(shared, warp * kBlock, dkeys, sizes.scale, sizes.scale,
                                         arguments.dqkv + sizes.key_in_qkv(batch, kv_head), sizes.qkv_stride, first_key,
                                         sizes.sequence);
  store_block_rows<C::kOwn, C::kHeadDim>(shared + C::kOwnBytes, warp * kBlock, dvalues, 1.0f, 1.0f,
                                         arguments.dqkv + sizes.value_in_qkv(batch, kv_head), sizes.qkv_stride,
                                         first_key, sizes.sequence);
}

// A block is a tile of queries of one head, as in the forward pass.
template <class C>
__global__ void __launch_bounds__(C::kThreads, C::kBlocksAtOnce) queries_kernel(const BackwardArguments arguments) {
  extern __shared__ __align__(1024) unsigned char shared[];
  const Sizes& sizes = arguments.sizes;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  const int all_tiles = divide_up(sizes.sequence, C::kOwn), all_heads = static_cast<int>(gridDim.x) / all_tiles;
  const int all_head = static_cast<int>(blockIdx.x) % all_heads;
  const int head = all_head % sizes.heads, batch = all_head / sizes.heads;
  const int kv_head = head / (sizes.heads / sizes.kv_heads);
  const int block_query = (all_tiles - 1 - static_cast<int>(blockIdx.x) / all_heads) * C::kOwn;
  const int first_query = block_query + warp * kBlock;

  const uint32_t queries = shared_address(shared), douts = queries + C::kOwnBytes;
  const auto key_buffer = [&](int tile) { return queries + 2 * C::kOwnBytes + tile % 2 * 2 * C::kOtherBytes; };
  const Bf16* const keys = arguments.qkv + sizes.key_in_qkv(batch, kv_head);
  const Bf16* const values = arguments.qkv + sizes.value_in_qkv(batch, kv_head);
  const auto load_keys = [&](int tile) {
    load_tile<C::kOther, C::kHeadDim, C::kThreads>(key_buffer(tile), keys, sizes.qkv_stride, tile * C::kOther,
                                                   sizes.sequence);
    load_tile<C::kOther, C::kHeadDim, C::kThreads>(key_buffer(tile) + C::kOtherBytes, values, sizes.qkv_stride,
                                                   tile * C::kOther, sizes.sequence);
    commit_copies();
  };
  load_tile<C::kOwn, C::kHeadDim, C::kThreads>(queries, arguments.qkv + sizes.query_in_qkv(batch, head),
                                               sizes.qkv_stride, block_query, sizes.sequence);
  load_tile<C::kOwn, C::kHeadDim, C::kThreads>(douts, arguments.dout + sizes.in_out(batch, head), sizes.out_stride,
                                               block_query, sizes.sequence);
  load_keys(0);
  wait_for_copies<0>();
  __syncthreads();
  uint32_t q[C::kHeadDim / kBlock][4], dout[C::kHeadDim / kBlock][4];
  const uint32_t own = lane_offset_by_rows(lane) + warp * kBlock * kRowBytes;
#pragma unroll
  for (int d = 0; d < C::kHeadDim / kBlock; ++d) {
    load_matrices(q[d], queries + block_offset<C::kOwn>(own, 0, d));
    load_matrices(dout[d], douts + block_offset<C::kOwn>(own, 0, d));
  }
  float lse_log2[2], delta[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = first_query + accumulator_row(lane, 2 * half);
    const float2 row = query < sizes.sequence ? arguments.rows[sizes.in_rows(batch, head) + query] : float2{0.0f, 0.0f};
    lse_log2[half] = row.x;
    delta[half] = row.y;
  }

  const float scale_log2 = sizes.scale * kLog2E;
  float dqueries[C::kHeadDim / 8][4];
  clear(dqueries);
  const int tiles = key_tiles_seen(block_query, C::kOwn, C::kOther, sizes.sequence);
  for (int tile = 0; tile < tiles; ++tile) {
    wait_for_copies<0>();
    __syncthreads();
    if (tile + 1 < tiles) load_keys(tile + 1);
    const uint32_t tile_keys = key_buffer(tile), tile_values = tile_keys + C::kOtherBytes;
#pragma unroll
    for (int slice = 0; slice < C::kOther; slice += C::kSlice) {
      const int first_key = tile * C::kOther + slice;
      if (first_key >= first_query + kBlock) continue;  // after all of the warp's queries
      float p[C::kSlice / 8][4], ds[C::kSlice / 8][4];
      clear(p);
      clear(ds);
#pragma unroll
      for (int d = 0; d < C::kHeadDim / kBlock; ++d) {
        multiply_slice<C>(p, q[d], tile_keys, slice / kBlock, d);
        multiply_slice<C>(ds, dout[d], tile_values, slice / kBlock, d);
      }
      const bool masked = first_key + C::kSlice - 1 > first_query;
#pragma unroll
      for (int n = 0; n < C::kSlice / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int key = first_key + n * 8 + accumulator_column(lane, i);
          const bool hidden = masked && key > first_query + accumulator_row(lane, i);
          const float exponent = fmaf(p[n][i], scale_log2, -lse_log2[i / 2]);
          ds[n][i] = exp2_approximate(hidden ? -INFINITY : exponent) * (ds[n][i] - delta[i / 2]);
        }
      }
#pragma unroll
      for (int k = 0; k < C::kSlice / kBlock; ++k) {
        uint32_t a[4];
        as_operand(a, ds[2 * k], ds[2 * k + 1]);
        multiply_block<C>(dqueries, a, tile_keys, slice / kBlock + k);
      }
    }
  }
  store_block_rows<C::kOwn, C::kHeadDim>(shared, warp * kBlock, dqueries, sizes.scale, sizes.scale,
                                         arguments.dqkv + sizes.query_in_qkv(batch, head), sizes.qkv_stride,
                                         first_query, sizes.sequence);
}

template <class C>
void backward(const Stream& stream, const AttentionShape& shape, const BackwardArguments& arguments) {
  const int64_t tiles = divide_up<int64_t>(shape.sequence, C::kOwn);
  launch("flash_attention_backward, keys", keys_kernel<C>, tiles * shape.batch * shape.kv_heads, C::kThreads,
         C::kKeySharedBytes, stream, arguments);
  launch("flash_attention_backward, queries", queries_kernel<C>, tiles * shape.batch * shape.heads, C::kThreads,
         C::kQuerySharedBytes, stream, arguments);
}

}  // namespace
}  // namespace flash

void flash_attention_backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
                              const Tensor& lse, const Tensor& dout, Tensor& dqkv) {
  if (!flash::has_work(shape, qkv.dtype(), {&qkv, &out, &dout, &dqkv})) return;
  const flash::BackwardArguments arguments{flash::Sizes(shape), data_of<flash::Bf16>(qkv), data_of<flash::Bf16>(dout),
                                           flash::row_statistics(stream, shape, out, lse, dout),
                                           data_of<flash::Bf16>(dqkv)};
  flash::with_head_dim(shape, [&](auto head_dim) {
    flash::backward<flash::BackwardTiles<decltype(head_dim)::value>>(stream, shape, arguments);
  });
}

}  // namespace trident::cuda
