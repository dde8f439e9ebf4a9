#include "kernels/cuda/attention_flash.h"
#include "kernels/cuda/attention_flash_wgmma.cuh"

// The backward pass, as in attention_flash_backward.cu, for Hopper's warpgroups: one of them copies tiles, the others
// multiply.
namespace trident::cuda {
namespace flash {
namespace {

template <int kHeadDim_>
struct WgmmaBackwardTiles {
  static constexpr int kHeadDim = kHeadDim_;
  static constexpr int kConsumers = 2;
  static constexpr int kRows = 64;                 ///< rows that a warpgroup has gradients of
  static constexpr int kOwn = kConsumers * kRows;  ///< and a block
  static constexpr int kOther = 64;                ///< rows of the tiles that it goes through
  static constexpr int kStages = 2;
  static constexpr int kThreads = (1 + kConsumers) * kWarpgroup;
  static constexpr uint32_t kOwnBytes = kTileBytes<kOwn, kHeadDim>;
  static constexpr uint32_t kOtherBytes = kTileBytes<kOther, kHeadDim>;
  static constexpr uint32_t kOwnPanelBytes = kOwn * kRowBytes;
  static constexpr uint32_t kOtherPanelBytes = kOther * kRowBytes;
  static constexpr uint32_t kBarriers = 2 * kOwnBytes + kStages * 2 * kOtherBytes;  ///< where they begin
  static constexpr uint32_t kSharedBytes = kBarriers + (1 + kStages * 2) * sizeof(uint64_t);
  static_assert(kOther <= kReadableRows);
};

constexpr int kBoxRows = 64;

struct WgmmaBackwardArguments {
  TensorMap qkv, dout;
  Sizes sizes;
  const float2* rows;  ///< of row_statistics()
  Bf16* dqkv;
};

/// Addresses in shared memory of a block's two own tiles and of the two tiles of every stage.
template <class C>
struct BackwardMemory {
  uint32_t base;

  __device__ uint32_t own(int which) const { return base + which * C::kOwnBytes; }
  __device__ uint32_t other(int step, int which) const {
    return base + 2 * C::kOwnBytes + (step % C::kStages * 2 + which) * C::kOtherBytes;
  }
  __device__ uint32_t own_full() const { return base + C::kBarriers; }
  __device__ uint32_t full(int step) const { return own_full() + (1 + step % C::kStages * 2) * 8; }
  __device__ uint32_t free(int step) const { return full(step) + 8; }
  /// Parity of the barriers' phase in which a step's tiles are filled.
  __device__ static int parity(int step) { return step / C::kStages % 2; }

  __device__ void init_barriers() const {
    init_barrier(own_full(), 1);
    for (int stage = 0; stage < C::kStages; ++stage) {
      init_barrier(full(stage), 1);
      init_barrier(free(stage), C::kConsumers * kWarpgroup / kWarp);
    }
    publish_barriers();
  }
};

template <class C, int kRows>
__device__ __forceinline__ void copy_rows(uint32_t to, const TensorMap& map, int head, int first, int batch,
                                          uint32_t barrier) {
#pragma unroll
  for (int panel = 0; panel < C::kHeadDim / kPanelColumns; ++panel) {
#pragma unroll
    for (int row = 0; row < kRows; row += kBoxRows)
      copy_box(to + (panel * kRows + row) * kRowBytes, map, head * C::kHeadDim + panel * kPanelColumns, first + row,
               batch, barrier);
  }
}

/// The warpgroup's 64 own rows against the kOther rows of a tile.
template <class C>
__device__ __forceinline__ void start_rows(float (&sums)[C::kOther / 8][4], uint32_t own, uint32_t other) {
#pragma unroll
  for (int d = 0; d < C::kHeadDim / kBlock; ++d) {
    const int panel = d / 4, byte = d % 4 * kBlock * 2;
    const uint64_t a = tile_descriptor(own + panel * C::kOwnPanelBytes + byte, C::kOwnPanelBytes);
    const uint64_t b = tile_descriptor(other + panel * C::kOtherPanelBytes + byte, C::kOtherPanelBytes);
    if (d == 0)
      multiply_rows<false>(sums, a, b);
    else
      multiply_rows<true>(sums, a, b);
  }
  commit_products();
}

template <class C>
using Operand = uint32_t[C::kOther / kBlock][4];

template <class C>
__device__ __forceinline__ void round_sums(Operand<C>& a, const float (&sums)[C::kOther / 8][4]) {
#pragma unroll
  for (int k = 0; k < C::kOther / kBlock; ++k) as_operand(a[k], sums[2 * k], sums[2 * k + 1]);
}

/// sums += A · tile.
template <class C>
__device__ __forceinline__ void start_columns(float (&sums)[C::kHeadDim / 8][4], const Operand<C>& a, uint32_t tile) {
  fence_products();
#pragma unroll
  for (int k = 0; k < C::kOther / kBlock; ++k)
    multiply_add_columns(sums, a[k], tile_descriptor(tile + k * kBlock * kRowBytes, C::kOtherPanelBytes));
  commit_products();
}

template <int kTiles>
__device__ __forceinline__ void clear(float (&sums)[kTiles][4]) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n) sums[n][0] = sums[n][1] = sums[n][2] = sums[n][3] = 0.0f;
}

/// A consumer thread's place.
template <class C>
struct Place {
  int consumer = static_cast<int>(threadIdx.x) / kWarpgroup - 1;
  int lane = static_cast<int>(threadIdx.x) % kWarp;
  int group_row = consumer * C::kRows;  ///< in the block's tile
  int warp_row = group_row + static_cast<int>(threadIdx.x) % kWarpgroup / kWarp * kBlock;

  __device__ void release(uint32_t barrier) const {
    if (lane == 0) arrive(barrier);
  }
  /// Until all of the warpgroup has its products and no longer needs its own rows of shared memory.
  __device__ void wait_for_group() const { wait_at(1 + consumer, kWarpgroup); }
};

/// A tile of keys of one key-value head, and the queries that see them, head by head of its group.
template <class C>
struct KeyWork {
  int batch, kv_head, first_key, group, first_tile, tiles, steps;

  __device__ explicit KeyWork(const Sizes& sizes) {
    const int all_heads = static_cast<int>(gridDim.x) / divide_up(sizes.sequence, C::kOwn);
    const int all_head = static_cast<int>(blockIdx.x) % all_heads;
    kv_head = all_head % sizes.kv_heads;
    batch = all_head / sizes.kv_heads;
    first_key = static_cast<int>(blockIdx.x) / all_heads * C::kOwn;  // early keys are seen by most queries
    group = sizes.heads / sizes.kv_heads;
    first_tile = first_query_tile(first_key, C::kOther);
    tiles = divide_up(sizes.sequence, C::kOther) - first_tile;
    steps = group * tiles;
  }
  __device__ int head(int step) const { return kv_head * group + step / tiles; }
  __device__ int query(int step) const { return (first_tile + step % tiles) * C::kOther; }
};

template <class C>
__device__ __forceinline__ void copy_for_keys(const WgmmaBackwardArguments& arguments, const KeyWork<C>& work,
                                              const BackwardMemory<C>& memory) {
  const int key_head = arguments.sizes.heads + work.kv_head;
  arrive_expecting(memory.own_full(), 2 * C::kOwnBytes);
  copy_rows<C, C::kOwn>(memory.own(0), arguments.qkv, key_head, work.first_key, work.batch, memory.own_full());
  copy_rows<C, C::kOwn>(memory.own(1), arguments.qkv, key_head + arguments.sizes.kv_heads, work.first_key, work.batch,
                        memory.own_full());
  for (int step = 0; step < work.steps; ++step) {
    wait_for_phase(memory.free(step), memory.parity(step) ^ 1);
    const uint32_t full = memory.full(step);
    arrive_expecting(full, 2 * C::kOtherBytes);
    copy_rows<C, C::kOther>(memory.other(step, 0), arguments.qkv, work.head(step), work.query(step), work.batch, full);
    copy_rows<C, C::kOther>(memory.other(step, 1), arguments.dout, work.head(step), work.query(step), work.batch, full);
  }
}

template <class C>
__device__ __forceinline__ void differentiate_keys(const WgmmaBackwardArguments& arguments, const KeyWork<C>& work,
                                                   const BackwardMemory<C>& memory, unsigned char* shared) {
  const Sizes& sizes = arguments.sizes;
  const Place<C> place;
  const int first_key = work.first_key + place.warp_row;
  const float scale_log2 = sizes.scale * kLog2E;
  const uint32_t keys = memory.own(0) + place.group_row * kRowBytes;
  const uint32_t values = memory.own(1) + place.group_row * kRowBytes;
  float dkeys[C::kHeadDim / 8][4], dvalues[C::kHeadDim / 8][4], p[C::kOther / 8][4], ds[C::kOther / 8][4];
  clear(dkeys);
  clear(dvalues);
  clear(p);
  clear(ds);
  wait_for_phase(memory.own_full(), 0);
  for (int step = 0; step < work.steps; ++step) {
    wait_for_phase(memory.full(step), memory.parity(step));
    const int first_query = work.query(step);
    if (first_query + C::kOther <= work.first_key + place.group_row) {  // before all of the warpgroup's keys
      place.release(memory.free(step));
      continue;
    }
    const uint32_t queries = memory.other(step, 0), douts = memory.other(step, 1);
    fence_products();
    start_rows<C>(p, keys, queries);
    start_rows<C>(ds, values, douts);
    const float2* const rows =
        arguments.rows + sizes.in_rows(work.batch, work.head(step)) + first_query + accumulator_column(place.lane, 0);
    const bool masked = first_query < first_key + kBlock - 1 || first_query + C::kOther > sizes.sequence;
    const auto hidden = [&](int n, int i) {
      const int query = first_query + n * 8 + accumulator_column(place.lane, i);
      return masked && (first_key + accumulator_row(place.lane, i) > query || query >= sizes.sequence);
    };
    wait_for_products<1>();
    now_use(p);
#pragma unroll
    for (int n = 0; n < C::kOther / 8; ++n) {
      const float lse[2] = {rows[n * 8].x, rows[n * 8 + 1].x};
#pragma unroll
      for (int i = 0; i < 4; ++i)
        p[n][i] = exp2_approximate(hidden(n, i) ? -INFINITY : fmaf(p[n][i], scale_log2, -lse[i % 2]));
    }
    Operand<C> p_operand, ds_operand;
    round_sums<C>(p_operand, p);
    start_columns<C>(dvalues, p_operand, douts);
    wait_for_products<1>();
    now_use(ds);
#pragma unroll
    for (int n = 0; n < C::kOther / 8; ++n) {
      const float delta[2] = {rows[n * 8].y, rows[n * 8 + 1].y};
#pragma unroll
      for (int i = 0; i < 4; ++i) ds[n][i] = hidden(n, i) ? 0.0f : p[n][i] * (ds[n][i] - delta[i % 2]);
    }
    round_sums<C>(ds_operand, ds);
    start_columns<C>(dkeys, ds_operand, queries);
    wait_for_products<0>();
    now_use(dvalues);
    now_use(dkeys);
    place.release(memory.free(step));
  }
  place.wait_for_group();
  store_block_rows<C::kOwn, C::kHeadDim>(shared, place.warp_row, dkeys, sizes.scale, sizes.scale,
                                         arguments.dqkv + sizes.key_in_qkv(work.batch, work.kv_head), sizes.qkv_stride,
                                         first_key, sizes.sequence);
  store_block_rows<C::kOwn, C::kHeadDim>(shared + C::kOwnBytes, place.warp_row, dvalues, 1.0f, 1.0f,
                                         arguments.dqkv + sizes.value_in_qkv(work.batch, work.kv_head),
                                         sizes.qkv_stride, first_key, sizes.sequence);
}

/// A tile of queries of one head, and the keys that they see.
template <class C>
struct QueryWork {
  int batch, head, kv_head, first_query, steps;

  __device__ explicit QueryWork(const Sizes& sizes) {
    const int all_tiles = divide_up(sizes.sequence, C::kOwn), all_heads = static_cast<int>(gridDim.x) / all_tiles;
    const int all_head = static_cast<int>(blockIdx.x) % all_heads;
    head = all_head % sizes.heads;
    batch = all_head / sizes.heads;
    kv_head = head / (sizes.heads / sizes.kv_heads);
    first_query = (all_tiles - 1 - static_cast<int>(blockIdx.x) / all_heads) * C::kOwn;  // late queries see most keys
    steps = key_tiles_seen(first_query, C::kOwn, C::kOther, sizes.sequence);
  }
};

template <class C>
__device__ __forceinline__ void copy_for_queries(const WgmmaBackwardArguments& arguments, const QueryWork<C>& work,
                                                 const BackwardMemory<C>& memory) {
  const int key_head = arguments.sizes.heads + work.kv_head, value_head = key_head + arguments.sizes.kv_heads;
  arrive_expecting(memory.own_full(), 2 * C::kOwnBytes);
  copy_rows<C, C::kOwn>(memory.own(0), arguments.qkv, work.head, work.first_query, work.batch, memory.own_full());
  copy_rows<C, C::kOwn>(memory.own(1), arguments.dout, work.head, work.first_query, work.batch, memory.own_full());
  for (int step = 0; step < work.steps; ++step) {
    wait_for_phase(memory.free(step), memory.parity(step) ^ 1);
    const uint32_t full = memory.full(step);
    arrive_expecting(full, 2 * C::kOtherBytes);
    copy_rows<C, C::kOther>(memory.other(step, 0), arguments.qkv, key_head, step * C::kOther, work.batch, full);
    copy_rows<C, C::kOther>(memory.other(step, 1), arguments.qkv, value_head, step * C::kOther, work.batch, full);
  }
}

template <class C>
__device__ __forceinline__ void differentiate_queries(const WgmmaBackwardArguments& arguments, const QueryWork<C>& work,
                                                      const BackwardMemory<C>& memory, unsigned char* shared) {
  const Sizes& sizes = arguments.sizes;
  const Place<C> place;
  const int first_query = work.first_query + place.warp_row;
  const float scale_log2 = sizes.scale * kLog2E;
  const uint32_t queries = memory.own(0) + place.group_row * kRowBytes;
  const uint32_t douts = memory.own(1) + place.group_row * kRowBytes;
  float lse_log2[2], delta[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int query = first_query + accumulator_row(place.lane, 2 * half);
    const float2 row =
        query < sizes.sequence ? arguments.rows[sizes.in_rows(work.batch, work.head) + query] : float2{0.0f, 0.0f};
    lse_log2[half] = row.x;
    delta[half] = row.y;
  }
  float dqueries[C::kHeadDim / 8][4], p[C::kOther / 8][4], ds[C::kOther / 8][4];
  clear(dqueries);
  clear(p);
  clear(ds);
  wait_for_phase(memory.own_full(), 0);
  for (int step = 0; step < work.steps; ++step) {
    wait_for_phase(memory.full(step), memory.parity(step));
    const int first_key = step * C::kOther;
    if (first_key >= work.first_query + place.group_row + C::kRows) {  // after all of the warpgroup's queries
      place.release(memory.free(step));
      continue;
    }
    const uint32_t keys = memory.other(step, 0), values = memory.other(step, 1);
    fence_products();
    start_rows<C>(p, queries, keys);
    start_rows<C>(ds, douts, values);
    const bool masked = first_key + C::kOther - 1 > first_query;
    wait_for_products<1>();
    now_use(p);
#pragma unroll
    for (int n = 0; n < C::kOther / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int key = first_key + n * 8 + accumulator_column(place.lane, i);
        const bool hidden = masked && key > first_query + accumulator_row(place.lane, i);
        p[n][i] = exp2_approximate(hidden ? -INFINITY : fmaf(p[n][i], scale_log2, -lse_log2[i / 2]));
      }
    }
    wait_for_products<0>();
    now_use(ds);
#pragma unroll
    for (int n = 0; n < C::kOther / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) ds[n][i] = p[n][i] * (ds[n][i] - delta[i / 2]);
    }
    Operand<C> operand;
    round_sums<C>(operand, ds);
    start_columns<C>(dqueries, operand, keys);
    wait_for_products<0>();
    now_use(dqueries);
    place.release(memory.free(step));
  }
  place.wait_for_group();
  store_block_rows<C::kOwn, C::kHeadDim>(shared, place.warp_row, dqueries, sizes.scale, sizes.scale,
                                         arguments.dqkv + sizes.query_in_qkv(work.batch, work.head), sizes.qkv_stride,
                                         first_query, sizes.sequence);
}

template <class C, class WorkOfPass, auto copy, auto compute>
struct BackwardPass {
  using Tiles = C;
  using Arguments = WgmmaBackwardArguments;
  using Memory = BackwardMemory<C>;
  using Work = WorkOfPass;
  static constexpr auto kCopy = copy;
  static constexpr auto kCompute = compute;
};

template <class C>
using KeyPass = BackwardPass<C, KeyWork<C>, copy_for_keys<C>, differentiate_keys<C>>;

template <class C>
using QueryPass = BackwardPass<C, QueryWork<C>, copy_for_queries<C>, differentiate_queries<C>>;

template <class C>
void backward(const Stream& stream, const AttentionShape& shape, const WgmmaBackwardArguments& arguments) {
  const int64_t tiles = divide_up<int64_t>(shape.sequence, C::kOwn);
  launch("flash_attention_backward_wgmma, keys", wgmma_kernel<KeyPass<C>>, tiles * shape.batch * shape.kv_heads,
         C::kThreads, C::kSharedBytes, stream, arguments);
  launch("flash_attention_backward_wgmma, queries", wgmma_kernel<QueryPass<C>>, tiles * shape.batch * shape.heads,
         C::kThreads, C::kSharedBytes, stream, arguments);
}

}  // namespace
}  // namespace flash

void flash_attention_backward_wgmma(const Stream& stream, const AttentionShape& shape, const Tensor& qkv,
                                    const Tensor& out, const Tensor& lse, const Tensor& dout, Tensor& dqkv) {
  if (!flash::has_work(shape, qkv.dtype(), {&qkv, &out, &dout, &dqkv})) return;
  const flash::WgmmaBackwardArguments arguments{
      flash::tensor_map(data_of<flash::Bf16>(qkv), shape.batch, shape.sequence, shape.qkv_columns(), flash::kBoxRows),
      flash::tensor_map(data_of<flash::Bf16>(dout), shape.batch, shape.sequence, shape.heads * shape.head_dim,
                        flash::kBoxRows),
      flash::Sizes(shape), flash::row_statistics(stream, shape, out, lse, dout), data_of<flash::Bf16>(dqkv)};
  flash::with_head_dim(shape, [&](auto head_dim) {
    flash::backward<flash::WgmmaBackwardTiles<decltype(head_dim)::value>>(stream, shape, arguments);
  });
}

}  // namespace trident::cuda
