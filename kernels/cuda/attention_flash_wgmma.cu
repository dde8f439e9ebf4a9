#include "kernels/cuda/attention_flash.h"
#include "kernels/cuda/attention_flash_wgmma.cuh"

// The forward pass for Hopper's warpgroups: one of them copies tiles, the others multiply. Shah et al.,
// "FlashAttention-3" (2024), algorithm 2: a warpgroup's softmax runs beside its own products with the values of the
// tile before, and beside the other warpgroup's products.
namespace trident::cuda {
namespace flash {
namespace {

template <int kHeadDim_>
struct WgmmaTiles {
  static constexpr int kHeadDim = kHeadDim_;
  static constexpr int kConsumers = 2;
  static constexpr int kRows = 64;  ///< queries of a warpgroup
  static constexpr int kQueries = kConsumers * kRows;
  static constexpr int kKeys = 128;
  static constexpr int kStages = 2;
  static constexpr int kThreads = (1 + kConsumers) * kWarpgroup;
  static constexpr uint32_t kQueryBytes = kTileBytes<kQueries, kHeadDim>;
  static constexpr uint32_t kKeyBytes = kTileBytes<kKeys, kHeadDim>;
  static constexpr uint32_t kQueryPanelBytes = kQueries * kRowBytes;
  static constexpr uint32_t kKeyPanelBytes = kKeys * kRowBytes;
  static constexpr uint32_t kBarriers = kQueryBytes + kStages * 2 * kKeyBytes;  ///< where they begin
  static constexpr uint32_t kSharedBytes = kBarriers + (1 + kStages * 4) * sizeof(uint64_t);
  static_assert(kQueries == kKeys, "one box serves all; the diagonal is in the last tile that a block sees");
};

struct WgmmaArguments {
  TensorMap qkv;
  Sizes sizes;
  Bf16* out;
  float* lse;
};

/// Addresses in shared memory. Tiles of keys and values go round the stages; `step` counts them.
template <class C>
struct Memory {
  uint32_t base;

  __device__ uint32_t queries() const { return base; }
  __device__ uint32_t keys(int step) const { return base + C::kQueryBytes + step % C::kStages * 2 * C::kKeyBytes; }
  __device__ uint32_t values(int step) const { return keys(step) + C::kKeyBytes; }
  __device__ uint32_t queries_full() const { return base + C::kBarriers; }
  __device__ uint32_t keys_full(int step) const { return barrier(step, 0); }
  __device__ uint32_t keys_free(int step) const { return barrier(step, 1); }
  __device__ uint32_t values_full(int step) const { return barrier(step, 2); }
  __device__ uint32_t values_free(int step) const { return barrier(step, 3); }
  /// Parity of the barriers' phase in which a step's tile is filled.
  __device__ static int parity(int step) { return step / C::kStages % 2; }

  __device__ void init_barriers() const {
    init_barrier(queries_full(), 1);
    for (int stage = 0; stage < C::kStages; ++stage) {
      init_barrier(keys_full(stage), 1);
      init_barrier(values_full(stage), 1);
      init_barrier(keys_free(stage), C::kConsumers * kWarpgroup / kWarp);
      init_barrier(values_free(stage), C::kConsumers * kWarpgroup / kWarp);
    }
    publish_barriers();
  }

 private:
  __device__ uint32_t barrier(int step, int which) const {
    return base + C::kBarriers + static_cast<uint32_t>((1 + step % C::kStages * 4 + which) * sizeof(uint64_t));
  }
};

/// What a block works on: one tile of queries of one head, and the key tiles that it sees, from the diagonal back.
template <class C>
struct Work {
  int batch, head, kv_head, first_query, tiles;

  __device__ explicit Work(const Sizes& sizes) {
    const int all_tiles = divide_up(sizes.sequence, C::kQueries), all_heads = static_cast<int>(gridDim.x) / all_tiles;
    const int all_head = static_cast<int>(blockIdx.x) % all_heads;
    // Late tiles see most keys, so they start first.
    const int tile = all_tiles - 1 - static_cast<int>(blockIdx.x) / all_heads;
    batch = all_head / sizes.heads;
    head = all_head % sizes.heads;
    kv_head = head / (sizes.heads / sizes.kv_heads);
    first_query = tile * C::kQueries;
    tiles = tile + 1;
  }

  __device__ int key(int step) const { return (tiles - 1 - step) * C::kKeys; }
};

/// One thread's work.
template <class C>
__device__ __forceinline__ void copy_tiles(const WgmmaArguments& arguments, const Work<C>& work,
                                           const Memory<C>& memory) {
  const Sizes& sizes = arguments.sizes;
  const auto copy = [&](uint32_t to, uint32_t bytes, int head, int row, uint32_t full) {
    arrive_expecting(full, bytes);
#pragma unroll
    for (int panel = 0; panel < C::kHeadDim / kPanelColumns; ++panel)
      copy_box(to + panel * C::kKeyPanelBytes, arguments.qkv, head * C::kHeadDim + panel * kPanelColumns, row,
               work.batch, full);
  };
  const int keys = sizes.heads + work.kv_head, values = keys + sizes.kv_heads;
  copy(memory.queries(), C::kQueryBytes, work.head, work.first_query, memory.queries_full());
  for (int step = 0; step < work.tiles; ++step) {
    // The opposite parity: free since the tile before it was read, or from the start.
    wait_for_phase(memory.keys_free(step), memory.parity(step) ^ 1);
    copy(memory.keys(step), C::kKeyBytes, keys, work.key(step), memory.keys_full(step));
    wait_for_phase(memory.values_free(step), memory.parity(step) ^ 1);
    copy(memory.values(step), C::kKeyBytes, values, work.key(step), memory.values_full(step));
  }
}

/// The warpgroups take turns in giving the tensor cores products; each waits at its own named barrier.
struct Turns {
  static constexpr int kFirstBarrier = 1;  // 0 is __syncthreads()
  int consumer;

  __device__ __forceinline__ void begin() const {
    if (consumer == 1) pass();  // the first is the other's
  }
  __device__ __forceinline__ void wait() const { wait_at(kFirstBarrier + consumer, 2 * kWarpgroup); }
  __device__ __forceinline__ void pass() const { arrive_at(kFirstBarrier + 1 - consumer, 2 * kWarpgroup); }
};

template <class C>
using Scores = float[C::kKeys / 8][4];
template <class C>
using Out = float[C::kHeadDim / 8][4];
template <class C>
using Probabilities = uint32_t[C::kKeys / kBlock][4];

template <class C>
__device__ __forceinline__ void start_scores(Scores<C>& scores, uint32_t queries, uint32_t keys) {
  fence_products();
#pragma unroll
  for (int d = 0; d < C::kHeadDim / kBlock; ++d) {
    const int panel = d / 4, byte = d % 4 * kBlock * 2;
    const uint64_t a = tile_descriptor(queries + panel * C::kQueryPanelBytes + byte, C::kQueryPanelBytes);
    const uint64_t b = tile_descriptor(keys + panel * C::kKeyPanelBytes + byte, C::kKeyPanelBytes);
    if (d == 0)
      multiply_rows<false>(scores, a, b);
    else
      multiply_rows<true>(scores, a, b);
  }
  commit_products();
}

template <class C>
__device__ __forceinline__ void start_out(Out<C>& out, const Probabilities<C>& p, uint32_t values) {
  fence_products();
#pragma unroll
  for (int k = 0; k < C::kKeys / kBlock; ++k)
    multiply_add_columns(out, p[k], tile_descriptor(values + k * kBlock * kRowBytes, C::kKeyPanelBytes));
  commit_products();
}

/// [half] is the upper or lower row of a lane.
template <class C>
struct OnlineSoftmax {
  float scale_log2;
  float maximum[2] = {-INFINITY, -INFINITY};  ///< of the unscaled scores
  float sum[2] = {0.0f, 0.0f};                ///< this lane's share
  float correction[2] = {1.0f, 1.0f};         ///< what was summed before is to be multiplied by

  /// Scores become exp2(scale · (score − new maximum)).
  __device__ __forceinline__ void take(Scores<C>& scores) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      float largest = maximum[half];
#pragma unroll
      for (int n = 0; n < C::kKeys / 8; ++n)
        largest = fmaxf(largest, fmaxf(scores[n][2 * half], scores[n][2 * half + 1]));
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 1));
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffffu, largest, 2));
      correction[half] = exp2_approximate((maximum[half] - largest) * scale_log2);
      const float shift = largest * scale_log2;
      float total = 0.0f;
#pragma unroll
      for (int n = 0; n < C::kKeys / 8; ++n) {
#pragma unroll
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
          scores[n][i] = exp2_approximate(fmaf(scores[n][i], scale_log2, -shift));
          total += scores[n][i];
        }
      }
      maximum[half] = largest;
      sum[half] = sum[half] * correction[half] + total;
    }
  }

  __device__ __forceinline__ void correct(Out<C>& out) const {
#pragma unroll
    for (int n = 0; n < C::kHeadDim / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) out[n][i] *= correction[i / 2];
    }
  }
};

template <class C>
__device__ __forceinline__ void hide_future(Scores<C>& scores, int first_query, int first_key) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
#pragma unroll
  for (int n = 0; n < C::kKeys / 8; ++n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int key = first_key + n * 8 + accumulator_column(lane, i);
      if (key > first_query + accumulator_row(lane, i)) scores[n][i] = -INFINITY;
    }
  }
}

template <class C>
__device__ __forceinline__ void round_scores(Probabilities<C>& p, const Scores<C>& scores) {
#pragma unroll
  for (int k = 0; k < C::kKeys / kBlock; ++k) as_operand(p[k], scores[2 * k], scores[2 * k + 1]);
}

// Every query sees its own key in the first tile, so its maximum is finite; keys past the sequence are after every
// query whose result is stored.
template <class C>
__device__ __forceinline__ void attend(const WgmmaArguments& arguments, const Work<C>& work, const Memory<C>& memory,
                                       unsigned char* shared) {
  const Sizes& sizes = arguments.sizes;
  const int consumer = static_cast<int>(threadIdx.x) / kWarpgroup - 1;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const int tile_row = consumer * C::kRows + static_cast<int>(threadIdx.x) % kWarpgroup / kWarp * kBlock;
  const int first_query = work.first_query + tile_row;
  const uint32_t queries = memory.queries() + consumer * C::kRows * kRowBytes;
  const Turns turns{consumer};
  const auto release = [&](uint32_t barrier) {
    if (lane == 0) arrive(barrier);
  };

  Scores<C> scores;
  Probabilities<C> p;
  Out<C> out;
#pragma unroll
  for (int n = 0; n < C::kHeadDim / 8; ++n) out[n][0] = out[n][1] = out[n][2] = out[n][3] = 0.0f;
#pragma unroll
  for (int n = 0; n < C::kKeys / 8; ++n) scores[n][0] = scores[n][1] = scores[n][2] = scores[n][3] = 0.0f;
  OnlineSoftmax<C> softmax{sizes.scale * kLog2E};
  turns.begin();
  wait_for_phase(memory.queries_full(), 0);
  wait_for_phase(memory.keys_full(0), 0);
  start_scores<C>(scores, queries, memory.keys(0));
  wait_for_products<0>();
  now_use(scores);
  release(memory.keys_free(0));
  hide_future<C>(scores, first_query, work.key(0));
  softmax.take(scores);
  round_scores<C>(p, scores);
  for (int step = 1; step < work.tiles; ++step) {
    wait_for_phase(memory.keys_full(step), memory.parity(step));
    turns.wait();
    start_scores<C>(scores, queries, memory.keys(step));
    wait_for_phase(memory.values_full(step - 1), memory.parity(step - 1));
    start_out<C>(out, p, memory.values(step - 1));
    turns.pass();
    wait_for_products<1>();
    now_use(scores);
    release(memory.keys_free(step));
    softmax.take(scores);
    wait_for_products<0>();
    now_use(out);
    release(memory.values_free(step - 1));
    softmax.correct(out);
    round_scores<C>(p, scores);
  }
  wait_for_phase(memory.values_full(work.tiles - 1), memory.parity(work.tiles - 1));
  start_out<C>(out, p, memory.values(work.tiles - 1));
  wait_for_products<0>();
  now_use(out);

  float* const lse = arguments.lse + sizes.in_rows(work.batch, work.head);
  float factor[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float sum = softmax.sum[half];
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    sum += __shfl_xor_sync(0xffffffffu, sum, 2);
    factor[half] = 1.0f / sum;
    const int query = first_query + accumulator_row(lane, 2 * half);
    if (lane % 4 == 0 && query < sizes.sequence) lse[query] = softmax.maximum[half] * sizes.scale + logf(sum);
  }
  // The queries' memory is free once all of the warpgroup has its products; the named barriers 3, 4 are its own.
  wait_at(3 + consumer, kWarpgroup);
  store_block_rows<C::kQueries, C::kHeadDim>(shared, tile_row, out, factor[0], factor[1],
                                             arguments.out + sizes.in_out(work.batch, work.head), sizes.out_stride,
                                             first_query, sizes.sequence);
}

template <class C>
struct ForwardPass {
  using Tiles = C;
  using Arguments = WgmmaArguments;
  using Memory = flash::Memory<C>;
  using Work = flash::Work<C>;
  static constexpr auto kCopy = copy_tiles<C>;
  static constexpr auto kCompute = attend<C>;
};

template <class C>
void forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out, Tensor& lse) {
  const WgmmaArguments arguments{
      tensor_map(data_of<Bf16>(qkv), shape.batch, shape.sequence, shape.qkv_columns(), C::kQueries), Sizes(shape),
      data_of<Bf16>(out), data_of<float>(lse)};
  launch("flash_attention_forward_wgmma", wgmma_kernel<ForwardPass<C>>,
         divide_up<int64_t>(shape.sequence, C::kQueries) * shape.batch * shape.heads, C::kThreads, C::kSharedBytes,
         stream, arguments);
}

}  // namespace
}  // namespace flash

void flash_attention_forward_wgmma(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out,
                                   Tensor& lse) {
  if (!flash::has_work(shape, qkv.dtype(), {&qkv, &out})) return;
  flash::with_head_dim(shape, [&](auto head_dim) {
    flash::forward<flash::WgmmaTiles<decltype(head_dim)::value>>(stream, shape, qkv, out, lse);
  });
}

}  // namespace trident::cuda
