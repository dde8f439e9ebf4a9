#include "kernels/cuda/attention_flash.cuh"
#include "kernels/cuda/attention_flash.h"

namespace trident::cuda {
namespace flash {
namespace {

template <int kHeadDim_>
struct ForwardTiles {
  static constexpr int kHeadDim = kHeadDim_;
  static constexpr int kWarps = 4;
  static constexpr int kRowBlocks = 2;  ///< a warp's queries in blocks of 16: each key that it loads serves them all
  static constexpr int kQueries = kWarps * kRowBlocks * kBlock;
  static constexpr int kKeys = kHeadDim == 64 ? 64 : 32;
  static constexpr bool kQueriesInRegisters = kHeadDim == 64;  ///< else there are too few
  static constexpr int kThreads = kWarps * kWarp;
  static constexpr int kBlocksAtOnce = 2;
  static constexpr uint32_t kQueryBytes = kTileBytes<kQueries, kHeadDim>;
  static constexpr uint32_t kKeyBytes = kTileBytes<kKeys, kHeadDim>;
  static constexpr uint32_t kSharedBytes = kQueryBytes + 2 * 2 * kKeyBytes;
};

struct ForwardArguments {
  Sizes sizes;
  const Bf16* qkv;
  Bf16* out;
  float* lse;
};

/// What a warp knows of its queries; [block][upper or lower half] is the row of a lane.
template <class C>
struct Softmax {
  float maximum[C::kRowBlocks][2];  ///< of the unscaled scores
  float sum[C::kRowBlocks][2];      ///< this lane's share
  float out[C::kRowBlocks][C::kHeadDim / 8][4];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int b = 0; b < C::kRowBlocks; ++b) {
      maximum[b][0] = maximum[b][1] = -INFINITY;
      sum[b][0] = sum[b][1] = 0.0f;
#pragma unroll
      for (int n = 0; n < C::kHeadDim / 8; ++n) out[b][n][0] = out[b][n][1] = out[b][n][2] = out[b][n][3] = 0.0f;
    }
  }

  /// Scores become exp2(scale · (score − new maximum)); what was summed before is corrected.
  __device__ __forceinline__ void take(float (&scores)[C::kRowBlocks][C::kKeys / 8][4], float scale_log2) {
#pragma unroll
    for (int b = 0; b < C::kRowBlocks; ++b) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float largest = maximum[b][half];
#pragma unroll
        for (int n = 0; n < C::kKeys / 8; ++n)
          largest = fmaxf(largest, fmaxf(scores[b][n][2 * half], scores[b][n][2 * half + 1]));
        // The four lanes of a row.
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
        const float correction = exp2_approximate((maximum[b][half] - largest) * scale_log2);
        const float shift = largest * scale_log2;
        float total = 0.0f;
#pragma unroll
        for (int n = 0; n < C::kKeys / 8; ++n) {
#pragma unroll
          for (int i = 2 * half; i < 2 * half + 2; ++i) {
            scores[b][n][i] = exp2_approximate(fmaf(scores[b][n][i], scale_log2, -shift));
            total += scores[b][n][i];
          }
        }
        maximum[b][half] = largest;
        sum[b][half] = sum[b][half] * correction + total;
        if (__all_sync(0xffffffffu, correction == 1.0f)) continue;  // most often, after a few tiles
#pragma unroll
        for (int n = 0; n < C::kHeadDim / 8; ++n) {
          out[b][n][2 * half] *= correction;
          out[b][n][2 * half + 1] *= correction;
        }
      }
    }
  }
};

template <class C>
using QueryFragments = uint32_t[C::kRowBlocks][C::kHeadDim / kBlock][4];

/// scores = Q·Kᵀ of a warp's queries and one key tile.
template <class C>
__device__ __forceinline__ void multiply_keys(float (&scores)[C::kRowBlocks][C::kKeys / 8][4], uint32_t queries,
                                              const QueryFragments<C>& kept, uint32_t keys) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp, warp = static_cast<int>(threadIdx.x) / kWarp;
  const uint32_t by_rows = lane_offset_by_rows(lane), by_columns = lane_offset_by_columns(lane);
#pragma unroll
  for (int b = 0; b < C::kRowBlocks; ++b) {
#pragma unroll
    for (int n = 0; n < C::kKeys / 8; ++n) scores[b][n][0] = scores[b][n][1] = scores[b][n][2] = scores[b][n][3] = 0.0f;
  }
#pragma unroll
  for (int d = 0; d < C::kHeadDim / kBlock; ++d) {
    uint32_t a[C::kRowBlocks][4];
#pragma unroll
    for (int b = 0; b < C::kRowBlocks; ++b) {
      if constexpr (C::kQueriesInRegisters) {
#pragma unroll
        for (int i = 0; i < 4; ++i) a[b][i] = kept[b][d][i];
      } else {
        load_matrices(a[b], queries + block_offset<C::kQueries>(by_rows, warp * C::kRowBlocks + b, d));
      }
    }
#pragma unroll
    for (int n = 0; n < C::kKeys / kBlock; ++n) {
      uint32_t k[4];
      load_matrices(k, keys + block_offset<C::kKeys>(by_columns, n, d));
#pragma unroll
      for (int b = 0; b < C::kRowBlocks; ++b) {
        multiply_add(scores[b][2 * n], a[b], k[0], k[1]);
        multiply_add(scores[b][2 * n + 1], a[b], k[2], k[3]);
      }
    }
  }
}

/// out += P·V.
template <class C>
__device__ __forceinline__ void multiply_values(float (&out)[C::kRowBlocks][C::kHeadDim / 8][4],
                                                const float (&p)[C::kRowBlocks][C::kKeys / 8][4], uint32_t values) {
  const uint32_t by_rows = lane_offset_by_rows(static_cast<int>(threadIdx.x) % kWarp);
#pragma unroll
  for (int k = 0; k < C::kKeys / kBlock; ++k) {
    uint32_t a[C::kRowBlocks][4];
#pragma unroll
    for (int b = 0; b < C::kRowBlocks; ++b) as_operand(a[b], p[b][2 * k], p[b][2 * k + 1]);
#pragma unroll
    for (int d = 0; d < C::kHeadDim / kBlock; ++d) {
      uint32_t v[4];
      load_matrices_transposed(v, values + block_offset<C::kKeys>(by_rows, k, d));
#pragma unroll
      for (int b = 0; b < C::kRowBlocks; ++b) {
        multiply_add(out[b][2 * d], a[b], v[0], v[1]);
        multiply_add(out[b][2 * d + 1], a[b], v[2], v[3]);
      }
    }
  }
}

/// Scores of keys after their query become −∞.
template <class C>
__device__ __forceinline__ void hide_future(float (&scores)[C::kRowBlocks][C::kKeys / 8][4], int first_query,
                                            int first_key) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int b = 0; b < C::kRowBlocks; ++b) {
#pragma unroll
    for (int n = 0; n < C::kKeys / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int query = first_query + b * kBlock + accumulator_row(lane, i);
        const int key = first_key + n * 8 + accumulator_column(lane, i);
        if (key > query) scores[b][n][i] = -INFINITY;
      }
    }
  }
}

// A block is a tile of queries of one head. While its warps work on one tile of keys and values, the next is copied.
// Every query sees key 0, so its maximum is finite from the first tile on; keys past the sequence are after every query
// whose result is stored.
template <class C>
__global__ void __launch_bounds__(C::kThreads, C::kBlocksAtOnce) forward_kernel(const ForwardArguments arguments) {
  extern __shared__ __align__(1024) unsigned char shared[];
  const Sizes& sizes = arguments.sizes;
  const int warp = static_cast<int>(threadIdx.x) / kWarp, lane = static_cast<int>(threadIdx.x) % kWarp;
  // Late tiles see most keys, so they start first; query heads that read the same keys start together.
  const int all_heads = static_cast<int>(gridDim.x) / divide_up(sizes.sequence, C::kQueries);
  const int all_head = static_cast<int>(blockIdx.x) % all_heads;
  const int head = all_head % sizes.heads, batch = all_head / sizes.heads;
  const int kv_head = head / (sizes.heads / sizes.kv_heads);
  const int block_query =
      (divide_up(sizes.sequence, C::kQueries) - 1 - static_cast<int>(blockIdx.x) / all_heads) * C::kQueries;
  const int first_query = block_query + warp * C::kRowBlocks * kBlock;

  const Bf16* const keys = arguments.qkv + sizes.key_in_qkv(batch, kv_head);
  const Bf16* const values = arguments.qkv + sizes.value_in_qkv(batch, kv_head);
  const uint32_t queries = shared_address(shared);
  const auto key_buffer = [&](int tile) { return queries + C::kQueryBytes + tile % 2 * 2 * C::kKeyBytes; };
  const auto load_keys = [&](int tile) {
    load_tile<C::kKeys, C::kHeadDim, C::kThreads>(key_buffer(tile), keys, sizes.qkv_stride, tile * C::kKeys,
                                                  sizes.sequence);
    load_tile<C::kKeys, C::kHeadDim, C::kThreads>(key_buffer(tile) + C::kKeyBytes, values, sizes.qkv_stride,
                                                  tile * C::kKeys, sizes.sequence);
    commit_copies();
  };
  load_tile<C::kQueries, C::kHeadDim, C::kThreads>(queries, arguments.qkv + sizes.query_in_qkv(batch, head),
                                                   sizes.qkv_stride, block_query, sizes.sequence);
  load_keys(0);

  QueryFragments<C> kept;
  if constexpr (C::kQueriesInRegisters) {
    wait_for_copies<0>();
    __syncthreads();
#pragma unroll
    for (int b = 0; b < C::kRowBlocks; ++b) {
#pragma unroll
      for (int d = 0; d < C::kHeadDim / kBlock; ++d)
        load_matrices(kept[b][d],
                      queries + block_offset<C::kQueries>(lane_offset_by_rows(lane), warp * C::kRowBlocks + b, d));
    }
  }

  const float scale_log2 = sizes.scale * kLog2E;
  Softmax<C> softmax;
  softmax.clear();
  const int tiles = key_tiles_seen(block_query, C::kQueries, C::kKeys, sizes.sequence);
  for (int tile = 0; tile < tiles; ++tile) {
    wait_for_copies<0>();
    __syncthreads();  // the tile is here, and nobody reads the one before it any more
    if (tile + 1 < tiles) load_keys(tile + 1);
    const int first_key = tile * C::kKeys;
    if (first_key >= first_query + C::kRowBlocks * kBlock) continue;  // after all of the warp's queries
    float scores[C::kRowBlocks][C::kKeys / 8][4];
    multiply_keys<C>(scores, queries, kept, key_buffer(tile));
    if (first_key + C::kKeys - 1 > first_query) hide_future<C>(scores, first_query, first_key);
    softmax.take(scores, scale_log2);
    multiply_values<C>(softmax.out, scores, key_buffer(tile) + C::kKeyBytes);
  }

  Bf16* const out = arguments.out + sizes.in_out(batch, head);
  float* const lse = arguments.lse + sizes.in_rows(batch, head);
#pragma unroll
  for (int b = 0; b < C::kRowBlocks; ++b) {
    const int position = first_query + b * kBlock;
    float factor[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float sum = softmax.sum[b][half];
      sum += __shfl_xor_sync(0xffffffffu, sum, 1);
      sum += __shfl_xor_sync(0xffffffffu, sum, 2);
      factor[half] = 1.0f / sum;
      const int query = position + accumulator_row(lane, 2 * half);
      if (lane % 4 == 0 && query < sizes.sequence) lse[query] = softmax.maximum[b][half] * sizes.scale + logf(sum);
    }
    store_block_rows<C::kQueries, C::kHeadDim>(shared, warp * C::kRowBlocks * kBlock + b * kBlock, softmax.out[b],
                                               factor[0], factor[1], out, sizes.out_stride, position, sizes.sequence);
  }
}

template <class C>
void forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out, Tensor& lse) {
  const int64_t blocks = divide_up<int64_t>(shape.sequence, C::kQueries) * shape.batch * shape.heads;
  const ForwardArguments arguments{Sizes(shape), data_of<Bf16>(qkv), data_of<Bf16>(out), data_of<float>(lse)};
  launch("flash_attention_forward", forward_kernel<C>, blocks, C::kThreads, C::kSharedBytes, stream, arguments);
}

}  // namespace
}  // namespace flash

bool flash_attention_supports(const AttentionShape& shape, DType dtype) {
  return dtype == DType::bf16 && (shape.head_dim == 64 || shape.head_dim == 128) && shape.sequence < int64_t{1} << 30 &&
         shape.qkv_columns() < int64_t{1} << 24;
}

void flash_attention_forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out,
                             Tensor& lse) {
  if (!flash::has_work(shape, qkv.dtype(), {&qkv, &out})) return;
  flash::with_head_dim(shape, [&](auto head_dim) {
    flash::forward<flash::ForwardTiles<decltype(head_dim)::value>>(stream, shape, qkv, out, lse);
  });
}

}  // namespace trident::cuda
