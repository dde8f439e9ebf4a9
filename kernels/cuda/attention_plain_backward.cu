#include "kernels/cuda/attention_plain.cuh"
#include "kernels/cuda/state.h"

namespace trident::cuda {
namespace plain {
namespace {

/// What the backward pass reads beside the forward pass's operands. delta: [batch, heads, sequence], Σ dout·out of a
/// row.
template <class T>
struct Gradients {
  Heads<const T> dout;
  const Accumulator<T>*lse, *delta;
};

/// A block's tiles in shared memory: of its operands, and behind them of scores.
template <class A, int kTile>
struct BackwardTiles {
  using Tiles = SharedTiles<A, kTile>;
  static constexpr int kOperands = 4, kScoreStride = Tiles::kScoreStride;
  Tiles tiles;
  A *keys = tiles.rows(0), *values = tiles.rows(1), *queries = tiles.rows(2), *douts = tiles.rows(3);

  __device__ explicit BackwardTiles(int head_dim) : tiles{reinterpret_cast<A*>(shared_memory), head_dim} {}
  [[nodiscard]] __device__ A* scores(int index) const { return tiles.scores(kOperands, index); }
  static size_t bytes(int score_tiles, int head_dim) { return Tiles::bytes(kOperands, score_tiles, head_dim); }
};

/// A warp for every row.
template <class T>
__global__ void __launch_bounds__(kThreads)
    delta_kernel(Call<T> call, Heads<const T> out, Heads<const T> dout, Accumulator<T>* delta) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * (kThreads / kWarp) + threadIdx.x / kWarp;
  if (index >= call.shape.batch * call.shape.heads * call.shape.sequence) return;
  const int64_t row = index % call.shape.sequence;
  const int64_t head = index / call.shape.sequence % call.shape.heads;
  const int64_t batch = index / call.shape.sequence / call.shape.heads;
  const HeadRows<const T> o = call.rows(out, batch, head, row), d = call.rows(dout, batch, head, row);
  Accumulator<T> sum = 0;
  for (int column = threadIdx.x % kWarp; column < call.head_dim(); column += kWarp)
    sum += widen(o.data[column]) * widen(d.data[column]);
  sum = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) delta[index] = sum;
}

/// Of the query tile at `row` and the key tile at `key`: p becomes the probabilities, ds (which holds dout·valuesᵀ) the
/// gradients of the scores before scaling times the scale.
template <class T, int kMicro>
__device__ void score_gradients(const Call<T>& call, const Gradients<T>& gradients, const QueryTile& tile, int64_t key,
                                Accumulator<T> (&p)[kMicro][kMicro], Accumulator<T> (&ds)[kMicro][kMicro]) {
  using A = Accumulator<T>;
  const int y = threadIdx.x / kSide, x = threadIdx.x % kSide;
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
    const int64_t row = tile.row + y + kSide * i;
    const bool inside = row < call.shape.sequence;
    const A lse = inside ? gradients.lse[call.statistic(tile.batch, tile.head, row)] : A(0);
    const A delta = inside ? gradients.delta[call.statistic(tile.batch, tile.head, row)] : A(0);
#pragma unroll
    for (int j = 0; j < kMicro; ++j) {
      const bool seen = inside && key + x + kSide * j <= row;
      p[i][j] = seen ? exp(p[i][j] * call.scale - lse) : A(0);
      ds[i][j] = seen ? p[i][j] * (ds[i][j] - delta) * call.scale : A(0);
    }
  }
}

/// A block for every key tile of every key-value head: all queries that see it, of all heads that share it.
template <class T, int kTile, int kMaxDim>
__global__ void __launch_bounds__(kThreads, 1)
    key_gradients_kernel(Call<T> call, Gradients<T> gradients, Heads<T> dkeys, Heads<T> dvalues) {
  using A = Accumulator<T>;
  using Tiles = BackwardTiles<A, kTile>;
  constexpr int kMicro = kTile / kSide, kColumns = kMaxDim / kSide;
  const int head_dim = call.head_dim();
  const Tiles tiles(head_dim);
  A *const p_tile = tiles.scores(0), *const ds_tile = tiles.scores(1);

  // Early keys are seen by most queries, and start first.
  const int64_t sequence = call.shape.sequence, kv_heads = call.shape.batch * call.shape.kv_heads;
  const int64_t batch = blockIdx.x % kv_heads / call.shape.kv_heads;
  const int64_t kv_head = blockIdx.x % kv_heads % call.shape.kv_heads;
  const int64_t key = blockIdx.x / kv_heads * kTile;
  load_tile<kTile>(call.rows(call.keys, batch, kv_head, key), sequence - key, head_dim, tiles.keys);
  load_tile<kTile>(call.rows(call.values, batch, kv_head, key), sequence - key, head_dim, tiles.values);
  A dk[kMicro][kColumns], dv[kMicro][kColumns];
  clear(dk);
  clear(dv);
  QueryTile tile{batch, 0, 0};
  for (tile.head = kv_head * call.group(); tile.head < (kv_head + 1) * call.group(); ++tile.head) {
    for (tile.row = key; tile.row < sequence; tile.row += kTile) {
      const int64_t rows = sequence - tile.row;
      load_tile<kTile>(call.rows(call.queries, batch, tile.head, tile.row), rows, head_dim, tiles.queries);
      load_tile<kTile>(call.rows(gradients.dout, batch, tile.head, tile.row), rows, head_dim, tiles.douts);
      __syncthreads();
      A p[kMicro][kMicro], ds[kMicro][kMicro];
      multiply_rows(tiles.queries, tiles.keys, head_dim, p);
      multiply_rows(tiles.douts, tiles.values, head_dim, ds);
      score_gradients<T>(call, gradients, tile, key, p, ds);
      store_scores<A, kMicro, Tiles::kScoreStride>(p, p_tile);
      store_scores<A, kMicro, Tiles::kScoreStride>(ds, ds_tile);
      __syncthreads();
      // Transposed: a thread's rows are keys here.
      add_product<kTile>(p_tile, 1, Tiles::kScoreStride, tiles.douts, head_dim, dv);
      add_product<kTile>(ds_tile, 1, Tiles::kScoreStride, tiles.queries, head_dim, dk);
      __syncthreads();
    }
  }
  store_rows(dk, call.rows(dkeys, batch, kv_head, key), sequence - key, head_dim);
  store_rows(dv, call.rows(dvalues, batch, kv_head, key), sequence - key, head_dim);
}

template <class T, int kTile, int kMaxDim>
__global__ void __launch_bounds__(kThreads, 1)
    query_gradients_kernel(Call<T> call, Gradients<T> gradients, Heads<T> dqueries) {
  using A = Accumulator<T>;
  using Tiles = BackwardTiles<A, kTile>;
  constexpr int kMicro = kTile / kSide, kColumns = kMaxDim / kSide;
  const int head_dim = call.head_dim();
  const Tiles tiles(head_dim);
  A* const ds_tile = tiles.scores(0);

  const QueryTile tile = query_tile_of_block(call.shape, kTile);
  const int64_t rows = min(call.shape.sequence - tile.row, int64_t{kTile});
  const int64_t visible = tile.row + rows;
  const int64_t kv_head = tile.head / call.group();
  load_tile<kTile>(call.rows(call.queries, tile.batch, tile.head, tile.row), rows, head_dim, tiles.queries);
  load_tile<kTile>(call.rows(gradients.dout, tile.batch, tile.head, tile.row), rows, head_dim, tiles.douts);
  A dq[kMicro][kColumns];
  clear(dq);
  for (int64_t key = 0; key < visible; key += kTile) {
    load_tile<kTile>(call.rows(call.keys, tile.batch, kv_head, key), visible - key, head_dim, tiles.keys);
    load_tile<kTile>(call.rows(call.values, tile.batch, kv_head, key), visible - key, head_dim, tiles.values);
    __syncthreads();
    A p[kMicro][kMicro], ds[kMicro][kMicro];
    multiply_rows(tiles.queries, tiles.keys, head_dim, p);
    multiply_rows(tiles.douts, tiles.values, head_dim, ds);
    score_gradients<T>(call, gradients, tile, key, p, ds);
    store_scores<A, kMicro, Tiles::kScoreStride>(ds, ds_tile);
    __syncthreads();
    add_product<kTile>(ds_tile, Tiles::kScoreStride, 1, tiles.keys, head_dim, dq);
    __syncthreads();
  }
  store_rows(dq, call.rows(dqueries, tile.batch, tile.head, tile.row), rows, head_dim);
}

template <class T>
void launch_backward(const Stream& stream, const Call<T>& call, const Tensor& out, const Tensor& lse,
                     const Tensor& dout, const Tensor& dqkv) {
  using A = Accumulator<T>;
  const AttentionShape& shape = call.shape;
  const int64_t rows = shape.batch * shape.heads * shape.sequence;
  auto* const delta = static_cast<A*>(state_of(stream).scratch(static_cast<size_t>(rows) * sizeof(A)));
  const auto outs = separate<T, const T>(shape, out, shape.sequence, shape.heads);
  const auto douts = separate<T, const T>(shape, dout, shape.sequence, shape.heads);
  launch("attention_backward", delta_kernel<T>, stream, divide_up<int64_t>(rows, kThreads / kWarp), 0, call, outs,
         douts, delta);
  const Gradients<T> gradients{douts, data_of<A>(lse), delta};
  with_tile<T>(shape, [&](auto tile, auto max_dim) {
    constexpr int kTile = decltype(tile)::value, kMaxDim = decltype(max_dim)::value;
    using Tiles = BackwardTiles<A, kTile>;
    const auto head_dim = static_cast<int>(shape.head_dim);
    const int64_t blocks = divide_up<int64_t>(shape.sequence, kTile) * shape.batch;
    launch("attention_backward", key_gradients_kernel<T, kTile, kMaxDim>, stream, blocks * shape.kv_heads,
           Tiles::bytes(2, head_dim), call, gradients, packed<T, T>(shape, dqkv, shape.heads),
           packed<T, T>(shape, dqkv, shape.heads + shape.kv_heads));
    launch("attention_backward", query_gradients_kernel<T, kTile, kMaxDim>, stream, blocks * shape.heads,
           Tiles::bytes(1, head_dim), call, gradients, packed<T, T>(shape, dqkv, 0));
  });
}

}  // namespace
}  // namespace plain

void plain_attention_backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
                              const Tensor& lse, const Tensor& dout, Tensor& dqkv) {
  if (plain::is_empty(shape)) return;
  with_float_type(qkv.dtype(), [&](auto zero) {
    using T = decltype(zero);
    plain::launch_backward<T>(stream, plain::call_of<T>(shape, qkv), out, lse, dout, dqkv);
  });
}

}  // namespace trident::cuda
