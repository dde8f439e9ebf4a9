// Tiles of queries against tiles of keys, both in shared memory and widened to the accumulator's type. A block of
// kSide × kSide threads computes every product of two tiles; thread (y, x) owns rows y + kSide·i and columns x +
// kSide·j of it, so that the kSide lanes of half a warp share their rows. Nothing is added atomically: dK and dV of a
// key tile are one block's sum over all queries, dQ of a query tile another's over all keys.
#include <cmath>
#include <cstdint>
#include <string>

#include "kernels/cuda/attention_plain.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/state.h"

namespace trident::cuda {
namespace {

constexpr int kSide = 16;
constexpr int kThreads = kSide * kSide;
constexpr int kMaxHeadDim = 256;

/// Where one operand's heads lie: element h of position t of head n is data[b·batch_stride + t·row_stride + n·head_dim
/// + h].
template <class T>
struct Heads {
  T* data;
  int64_t batch_stride, row_stride;
};

/// Rows of one head.
template <class T>
struct HeadRows {
  T* data;
  int64_t stride;
};

/// What the kernels know of a call.
template <class T>
struct Call {
  AttentionShape shape;
  Accumulator<T> scale;
  int64_t first_position;
  Heads<const T> queries, keys, values;

  [[nodiscard]] __device__ int64_t group() const { return shape.heads / shape.kv_heads; }
  [[nodiscard]] __device__ int head_dim() const { return static_cast<int>(shape.head_dim); }
  /// Row `row` and later of one head.
  template <class U>
  [[nodiscard]] __device__ HeadRows<U> rows(const Heads<U>& heads, int64_t batch, int64_t head, int64_t row) const {
    return {heads.data + batch * heads.batch_stride + row * heads.row_stride + head * shape.head_dim, heads.row_stride};
  }
  /// Of a tensor [batch, heads, sequence].
  [[nodiscard]] __device__ int64_t statistic(int64_t batch, int64_t head, int64_t row) const {
    return (batch * shape.heads + head) * shape.sequence + row;
  }
};

/// Tiles have as many rows as shared memory and registers allow.
template <class A, int kMaxDim>
inline constexpr int kTileRows = 65536 / (kMaxDim * 2 * static_cast<int>(sizeof(A))) < 64
                                     ? 65536 / (kMaxDim * 2 * static_cast<int>(sizeof(A)))
                                     : 64;
static_assert(kTileRows<float, 128> == 64 && kTileRows<double, 256> == kSide);

/// Tile rows hold head_dim elements and zeros up to a multiple of kSide; one more makes their distance odd, so that the
/// lanes of a column fall into different banks.
__host__ __device__ constexpr int padded_dim(int head_dim) { return (head_dim + kSide - 1) / kSide * kSide; }
__host__ __device__ constexpr int tile_stride(int head_dim) { return padded_dim(head_dim) + 1; }

/// Shared memory: tiles of rows of the head dimension first, then score tiles.
template <class A, int kTile>
struct SharedTiles {
  static constexpr int kScoreStride = kTile + 1;

  static size_t bytes(int rows_tiles, int score_tiles, int head_dim) {
    const auto rows = static_cast<size_t>(rows_tiles) * kTile * static_cast<size_t>(tile_stride(head_dim));
    return (rows + static_cast<size_t>(score_tiles) * kTile * kScoreStride) * sizeof(A);
  }

  A* memory;
  int head_dim;

  [[nodiscard]] __device__ A* rows(int index) const { return memory + index * kTile * tile_stride(head_dim); }
  [[nodiscard]] __device__ A* scores(int rows_tiles, int index) const {
    return rows(rows_tiles) + index * kTile * kScoreStride;
  }
};

/// Rows behind the first `count` become zero: what lies there may be anything.
template <int kTile, class T, class A>
__device__ void load_tile(const HeadRows<const T>& from, int64_t count, int head_dim, A* tile) {
  const int lane = threadIdx.x % kWarp;
  const int padded = padded_dim(head_dim);
  for (int row = threadIdx.x / kWarp; row < kTile; row += kThreads / kWarp) {
    for (int column = lane; column < padded; column += kWarp) {
      const bool inside = row < count && column < head_dim;
      tile[row * tile_stride(head_dim) + column] = inside ? widen(from.data[row * from.stride + column]) : A(0);
    }
  }
}

/// product = a·bᵀ of two tiles of rows.
template <class A, int kMicro>
__device__ void multiply_rows(const A* a, const A* b, int head_dim, A (&product)[kMicro][kMicro]) {
  const int y = threadIdx.x / kSide, x = threadIdx.x % kSide;
  const int stride = tile_stride(head_dim);
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
#pragma unroll
    for (int j = 0; j < kMicro; ++j) product[i][j] = A(0);
  }
#pragma unroll 4
  for (int k = 0; k < padded_dim(head_dim); ++k) {
    A row[kMicro], column[kMicro];
#pragma unroll
    for (int i = 0; i < kMicro; ++i) {
      row[i] = a[(y + kSide * i) * stride + k];
      column[i] = b[(x + kSide * i) * stride + k];
    }
#pragma unroll
    for (int i = 0; i < kMicro; ++i) {
#pragma unroll
      for (int j = 0; j < kMicro; ++j) product[i][j] += row[i] * column[j];
    }
  }
}

/// sum += scores·b, where row y of `scores` begins at y·row_stride and its elements lie column_stride apart.
template <int kTile, class A, int kMicro, int kColumns>
__device__ void add_product(const A* scores, int row_stride, int column_stride, const A* b, int head_dim,
                            A (&sum)[kMicro][kColumns]) {
  const int y = threadIdx.x / kSide, x = threadIdx.x % kSide;
  const int padded = padded_dim(head_dim), stride = tile_stride(head_dim);
#pragma unroll 2
  for (int k = 0; k < kTile; ++k) {
    A row[kMicro];
#pragma unroll
    for (int i = 0; i < kMicro; ++i) row[i] = scores[(y + kSide * i) * row_stride + k * column_stride];
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      if (kSide * j < padded) {
        const A column = b[k * stride + x + kSide * j];
#pragma unroll
        for (int i = 0; i < kMicro; ++i) sum[i][j] += row[i] * column;
      }
    }
  }
}

template <class A, int kMicro, int kColumns>
__device__ void clear(A (&values)[kMicro][kColumns]) {
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
#pragma unroll
    for (int j = 0; j < kColumns; ++j) values[i][j] = A(0);
  }
}

template <class A, int kMicro, int kStride>
__device__ void store_scores(const A (&values)[kMicro][kMicro], A* tile) {
  const int y = threadIdx.x / kSide, x = threadIdx.x % kSide;
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
#pragma unroll
    for (int j = 0; j < kMicro; ++j) tile[(y + kSide * i) * kStride + x + kSide * j] = values[i][j];
  }
}

/// The first `count` rows.
template <class T, class A, int kMicro, int kColumns>
__device__ void store_rows(const A (&values)[kMicro][kColumns], const HeadRows<T>& to, int64_t count, int head_dim) {
  const int y = threadIdx.x / kSide, x = threadIdx.x % kSide;
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
    const int row = y + kSide * i;
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      const int column = x + kSide * j;
      if (row < count && column < head_dim) to.data[row * to.stride + column] = narrow<T>(values[i][j]);
    }
  }
}

/// Over the lanes that share their rows.
template <class A>
__device__ A row_max(A value) {
#pragma unroll
  for (int offset = kSide / 2; offset > 0; offset /= 2) {
    const A other = __shfl_xor_sync(0xffffffffu, value, offset);
    value = other > value ? other : value;
  }
  return value;
}

template <class A>
__device__ A row_sum(A value) {
#pragma unroll
  for (int offset = kSide / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
  return value;
}

struct QueryTile {
  int64_t batch, head, row;
};

/// Late tiles see most keys, so they start first.
__device__ QueryTile query_tile_of_block(const AttentionShape& shape, int tile_rows) {
  const int64_t heads = shape.batch * shape.heads;
  const int64_t tiles = (shape.sequence + tile_rows - 1) / tile_rows;
  const int64_t head = blockIdx.x % heads;
  return {head / shape.heads, head % shape.heads, (tiles - 1 - blockIdx.x / heads) * tile_rows};
}

extern __shared__ __align__(16) unsigned char shared_memory[];

/// `lse` may be null.
template <class T, int kTile, int kMaxDim>
__global__ void __launch_bounds__(kThreads, 2) forward_kernel(Call<T> call, Heads<T> out, Accumulator<T>* lse) {
  using A = Accumulator<T>;
  using Tiles = SharedTiles<A, kTile>;
  constexpr int kMicro = kTile / kSide, kColumns = kMaxDim / kSide;
  const int y = threadIdx.x / kSide, x = threadIdx.x % kSide;
  const int head_dim = call.head_dim();
  const Tiles tiles{reinterpret_cast<A*>(shared_memory), head_dim};
  A* const queries = tiles.rows(0);
  A* const keys_or_values = tiles.rows(1);
  A* const scores = tiles.scores(2, 0);

  const QueryTile tile = query_tile_of_block(call.shape, kTile);
  const int64_t rows = min(call.shape.sequence - tile.row, int64_t{kTile});
  const int64_t visible = call.first_position + tile.row + rows;
  const int64_t kv_head = tile.head / call.group();
  load_tile<kTile>(call.rows(call.queries, tile.batch, tile.head, tile.row), rows, head_dim, queries);
  A sum[kMicro][kColumns], maximum[kMicro], total[kMicro];
  clear(sum);
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
    maximum[i] = -static_cast<A>(INFINITY);
    total[i] = A(0);
  }
  for (int64_t key = 0; key < visible; key += kTile) {
    load_tile<kTile>(call.rows(call.keys, tile.batch, kv_head, key), visible - key, head_dim, keys_or_values);
    __syncthreads();
    A p[kMicro][kMicro];
    multiply_rows(queries, keys_or_values, head_dim, p);
#pragma unroll
    for (int i = 0; i < kMicro; ++i) {
      // Every row sees key 0, so its maximum is finite from the first tile on.
      const int64_t position = call.first_position + tile.row + y + kSide * i;
      A largest = maximum[i];
#pragma unroll
      for (int j = 0; j < kMicro; ++j) {
        p[i][j] = key + x + kSide * j <= position ? p[i][j] * call.scale : -static_cast<A>(INFINITY);
        largest = p[i][j] > largest ? p[i][j] : largest;
      }
      largest = row_max(largest);
      A tile_total = A(0);
#pragma unroll
      for (int j = 0; j < kMicro; ++j) {
        p[i][j] = exp(p[i][j] - largest);
        tile_total += p[i][j];
      }
      const A factor = exp(maximum[i] - largest);
      total[i] = total[i] * factor + row_sum(tile_total);
      maximum[i] = largest;
#pragma unroll
      for (int j = 0; j < kColumns; ++j) sum[i][j] *= factor;
    }
    store_scores<A, kMicro, Tiles::kScoreStride>(p, scores);
    __syncthreads();
    load_tile<kTile>(call.rows(call.values, tile.batch, kv_head, key), visible - key, head_dim, keys_or_values);
    __syncthreads();
    add_product<kTile>(scores, Tiles::kScoreStride, 1, keys_or_values, head_dim, sum);
    __syncthreads();
  }
#pragma unroll
  for (int i = 0; i < kMicro; ++i) {
    const int row = y + kSide * i;
    if (lse != nullptr && x == 0 && row < rows)
      lse[call.statistic(tile.batch, tile.head, tile.row + row)] = maximum[i] + log(total[i]);
#pragma unroll
    for (int j = 0; j < kColumns; ++j) sum[i][j] /= total[i];
  }
  store_rows(sum, call.rows(out, tile.batch, tile.head, tile.row), rows, head_dim);
}

/// What the backward pass reads beside the forward pass's operands. delta: [batch, heads, sequence], Σ dout·out of a
/// row.
template <class T>
struct Gradients {
  Heads<const T> dout;
  const Accumulator<T>*lse, *delta;
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
  using Tiles = SharedTiles<A, kTile>;
  constexpr int kMicro = kTile / kSide, kColumns = kMaxDim / kSide;
  const int head_dim = call.head_dim();
  const Tiles tiles{reinterpret_cast<A*>(shared_memory), head_dim};
  A *const keys = tiles.rows(0), *const values = tiles.rows(1), *const queries = tiles.rows(2);
  A *const douts = tiles.rows(3), *const p_tile = tiles.scores(4, 0), *const ds_tile = tiles.scores(4, 1);

  // Early keys are seen by most queries, and start first.
  const int64_t sequence = call.shape.sequence, kv_heads = call.shape.batch * call.shape.kv_heads;
  const int64_t batch = blockIdx.x % kv_heads / call.shape.kv_heads;
  const int64_t kv_head = blockIdx.x % kv_heads % call.shape.kv_heads;
  const int64_t key = blockIdx.x / kv_heads * kTile;
  load_tile<kTile>(call.rows(call.keys, batch, kv_head, key), sequence - key, head_dim, keys);
  load_tile<kTile>(call.rows(call.values, batch, kv_head, key), sequence - key, head_dim, values);
  A dk[kMicro][kColumns], dv[kMicro][kColumns];
  clear(dk);
  clear(dv);
  QueryTile tile{batch, 0, 0};
  for (tile.head = kv_head * call.group(); tile.head < (kv_head + 1) * call.group(); ++tile.head) {
    for (tile.row = key; tile.row < sequence; tile.row += kTile) {
      const int64_t rows = sequence - tile.row;
      load_tile<kTile>(call.rows(call.queries, batch, tile.head, tile.row), rows, head_dim, queries);
      load_tile<kTile>(call.rows(gradients.dout, batch, tile.head, tile.row), rows, head_dim, douts);
      __syncthreads();
      A p[kMicro][kMicro], ds[kMicro][kMicro];
      multiply_rows(queries, keys, head_dim, p);
      multiply_rows(douts, values, head_dim, ds);
      score_gradients<T>(call, gradients, tile, key, p, ds);
      store_scores<A, kMicro, Tiles::kScoreStride>(p, p_tile);
      store_scores<A, kMicro, Tiles::kScoreStride>(ds, ds_tile);
      __syncthreads();
      // Transposed: a thread's rows are keys here.
      add_product<kTile>(p_tile, 1, Tiles::kScoreStride, douts, head_dim, dv);
      add_product<kTile>(ds_tile, 1, Tiles::kScoreStride, queries, head_dim, dk);
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
  using Tiles = SharedTiles<A, kTile>;
  constexpr int kMicro = kTile / kSide, kColumns = kMaxDim / kSide;
  const int head_dim = call.head_dim();
  const Tiles tiles{reinterpret_cast<A*>(shared_memory), head_dim};
  A *const keys = tiles.rows(0), *const values = tiles.rows(1), *const queries = tiles.rows(2);
  A *const douts = tiles.rows(3), *const ds_tile = tiles.scores(4, 0);

  const QueryTile tile = query_tile_of_block(call.shape, kTile);
  const int64_t rows = min(call.shape.sequence - tile.row, int64_t{kTile});
  const int64_t visible = tile.row + rows;
  const int64_t kv_head = tile.head / call.group();
  load_tile<kTile>(call.rows(call.queries, tile.batch, tile.head, tile.row), rows, head_dim, queries);
  load_tile<kTile>(call.rows(gradients.dout, tile.batch, tile.head, tile.row), rows, head_dim, douts);
  A dq[kMicro][kColumns];
  clear(dq);
  for (int64_t key = 0; key < visible; key += kTile) {
    load_tile<kTile>(call.rows(call.keys, tile.batch, kv_head, key), visible - key, head_dim, keys);
    load_tile<kTile>(call.rows(call.values, tile.batch, kv_head, key), visible - key, head_dim, values);
    __syncthreads();
    A p[kMicro][kMicro], ds[kMicro][kMicro];
    multiply_rows(queries, keys, head_dim, p);
    multiply_rows(douts, values, head_dim, ds);
    score_gradients<T>(call, gradients, tile, key, p, ds);
    store_scores<A, kMicro, Tiles::kScoreStride>(ds, ds_tile);
    __syncthreads();
    add_product<kTile>(ds_tile, Tiles::kScoreStride, 1, keys, head_dim, dq);
    __syncthreads();
  }
  store_rows(dq, call.rows(dqueries, tile.batch, tile.head, tile.row), rows, head_dim);
}

constexpr int kRowWarps = 16;

/// Generation, a block for every query: each warp takes some of the keys, several at once to have their loads in flight
/// together, and the warps' partial softmaxes are joined in order.
template <class T>
__global__ void __launch_bounds__(kRowWarps* kWarp) cached_row_kernel(Call<T> call, Heads<T> out) {
  using A = Accumulator<T>;
  constexpr int kKeys = 4, kColumns = kMaxHeadDim / kWarp;
  __shared__ A maxima[kRowWarps], totals[kRowWarps], sums[kRowWarps][kMaxHeadDim];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int head_dim = call.head_dim();
  const int64_t head = blockIdx.x % call.shape.heads;
  const int64_t row = blockIdx.x / call.shape.heads % call.shape.sequence;
  const int64_t batch = blockIdx.x / call.shape.heads / call.shape.sequence;
  const int64_t visible = call.first_position + row + 1;
  const HeadRows<const T> queries = call.rows(call.queries, batch, head, row);
  const HeadRows<const T> keys = call.rows(call.keys, batch, head / call.group(), 0);
  const HeadRows<const T> values = call.rows(call.values, batch, head / call.group(), 0);
  A query[kColumns], sum[kColumns];
#pragma unroll
  for (int j = 0; j < kColumns; ++j) {
    const int column = lane + kWarp * j;
    query[j] = column < head_dim ? widen(queries.data[column]) : A(0);
    sum[j] = A(0);
  }
  A maximum = -static_cast<A>(INFINITY), total = A(0);
  for (int64_t key = warp * kKeys; key < visible; key += kRowWarps * kKeys) {
    A p[kKeys];
    A largest = maximum;
#pragma unroll
    for (int k = 0; k < kKeys; ++k) {
      p[k] = A(0);
#pragma unroll
      for (int j = 0; j < kColumns; ++j) {
        const int column = lane + kWarp * j;
        if (column < head_dim && key + k < visible)
          p[k] += query[j] * widen(keys.data[(key + k) * keys.stride + column]);
      }
    }
#pragma unroll
    for (int k = 0; k < kKeys; ++k) {
      const A score = warp_sum(p[k]) * call.scale;
      p[k] = key + k < visible ? score : -static_cast<A>(INFINITY);
      largest = p[k] > largest ? p[k] : largest;
    }
    const A factor = exp(maximum - largest);
    maximum = largest;
    total *= factor;
#pragma unroll
    for (int k = 0; k < kKeys; ++k) {
      p[k] = exp(p[k] - largest);
      total += p[k];
    }
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      const int column = lane + kWarp * j;
      sum[j] *= factor;
#pragma unroll
      for (int k = 0; k < kKeys; ++k) {
        if (column < head_dim && key + k < visible)
          sum[j] += p[k] * widen(values.data[(key + k) * values.stride + column]);
      }
    }
  }
  if (lane == 0) {
    maxima[warp] = maximum;
    totals[warp] = total;
  }
#pragma unroll
  for (int j = 0; j < kColumns; ++j) sums[warp][lane + kWarp * j] = sum[j];
  __syncthreads();
  const int column = threadIdx.x;
  if (column >= head_dim) return;
  // Warps that saw no key have a maximum of −∞, hence a weight of 0; the first one always saw key 0.
  A largest = maxima[0];
  for (int w = 1; w < kRowWarps; ++w) largest = maxima[w] > largest ? maxima[w] : largest;
  A joined_sum = A(0), joined_total = A(0);
  for (int w = 0; w < kRowWarps; ++w) {
    const A weight = exp(maxima[w] - largest);
    joined_sum += weight * sums[w][column];
    joined_total += weight * totals[w];
  }
  call.rows(out, batch, head, row).data[column] = narrow<T>(joined_sum / joined_total);
}
static_assert(kMaxHeadDim <= kRowWarps * kWarp);

/// qkv's queries, keys or values, which begin at the given head.
template <class T, class U>
Heads<U> packed(const AttentionShape& shape, const Tensor& qkv, int64_t first_head) {
  const int64_t columns = shape.qkv_columns();
  return {data_of<T>(qkv) + first_head * shape.head_dim, shape.sequence * columns, columns};
}

/// A tensor [batch, rows, heads·head_dim].
template <class T, class U>
Heads<U> separate(const AttentionShape& shape, const Tensor& tensor, int64_t rows, int64_t heads) {
  const int64_t columns = heads * shape.head_dim;
  return {data_of<T>(tensor), rows * columns, columns};
}

template <class T>
Call<T> call_of(const AttentionShape& shape, const Tensor& qkv) {
  const auto scale = static_cast<Accumulator<T>>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
  return {shape,
          scale,
          0,
          packed<T, const T>(shape, qkv, 0),
          packed<T, const T>(shape, qkv, shape.heads),
          packed<T, const T>(shape, qkv, shape.heads + shape.kv_heads)};
}

template <class... Parameters, class... Arguments>
void launch(const char* name, void (*kernel)(Parameters...), const Stream& stream, int64_t blocks, size_t shared_bytes,
            const Arguments&... arguments) {
  TRIDENT_CHECK(blocks <= INT32_MAX, std::string(name) + " needs too many blocks");
  cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
  kernel<<<static_cast<unsigned>(blocks), kThreads, shared_bytes, queue_of(stream)>>>(arguments...);
  check_launch(name);
}

/// Calls f with the tile's rows and the head dimension that registers are reserved for.
template <class T, class F>
void with_tile(const AttentionShape& shape, const F& f) {
  using A = Accumulator<T>;
  TRIDENT_CHECK(shape.head_dim <= kMaxHeadDim, "attention on GPUs takes heads of up to 256 dimensions");
  if (shape.head_dim <= 128)
    f(std::integral_constant<int, kTileRows<A, 128>>{}, std::integral_constant<int, 128>{});
  else
    f(std::integral_constant<int, kTileRows<A, 256>>{}, std::integral_constant<int, 256>{});
}

template <class T>
void launch_forward(const Stream& stream, const Call<T>& call, const Heads<T>& out, Accumulator<T>* lse) {
  const AttentionShape& shape = call.shape;
  with_tile<T>(shape, [&](auto tile, auto max_dim) {
    constexpr int kTile = decltype(tile)::value, kMaxDim = decltype(max_dim)::value;
    launch("attention_forward", forward_kernel<T, kTile, kMaxDim>, stream,
           divide_up<int64_t>(shape.sequence, kTile) * shape.batch * shape.heads,
           SharedTiles<Accumulator<T>, kTile>::bytes(2, 1, static_cast<int>(shape.head_dim)), call, out, lse);
  });
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
    using Tiles = SharedTiles<A, kTile>;
    const auto head_dim = static_cast<int>(shape.head_dim);
    const int64_t blocks = divide_up<int64_t>(shape.sequence, kTile) * shape.batch;
    launch("attention_backward", key_gradients_kernel<T, kTile, kMaxDim>, stream, blocks * shape.kv_heads,
           Tiles::bytes(4, 2, head_dim), call, gradients, packed<T, T>(shape, dqkv, shape.heads),
           packed<T, T>(shape, dqkv, shape.heads + shape.kv_heads));
    launch("attention_backward", query_gradients_kernel<T, kTile, kMaxDim>, stream, blocks * shape.heads,
           Tiles::bytes(4, 1, head_dim), call, gradients, packed<T, T>(shape, dqkv, 0));
  });
}

bool is_empty(const AttentionShape& shape) { return shape.batch == 0 || shape.sequence == 0; }

}  // namespace

void plain_attention_forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out,
                             Tensor& lse) {
  if (is_empty(shape)) return;
  with_float_type(qkv.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch_forward<T>(stream, call_of<T>(shape, qkv), separate<T, T>(shape, out, shape.sequence, shape.heads),
                      data_of<Accumulator<T>>(lse));
  });
}

void plain_attention_backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
                              const Tensor& lse, const Tensor& dout, Tensor& dqkv) {
  if (is_empty(shape)) return;
  with_float_type(qkv.dtype(), [&](auto zero) {
    using T = decltype(zero);
    launch_backward<T>(stream, call_of<T>(shape, qkv), out, lse, dout, dqkv);
  });
}

void plain_attention_cached(const Stream& stream, const AttentionShape& shape, int64_t first_position,
                            const Tensor& qkv, const Tensor& keys, const Tensor& values, Tensor& out) {
  if (is_empty(shape)) return;
  with_float_type(qkv.dtype(), [&](auto zero) {
    using T = decltype(zero);
    Call<T> call = call_of<T>(shape, qkv);
    call.first_position = first_position;
    call.keys = separate<T, const T>(shape, keys, keys.dim(1), shape.kv_heads);
    call.values = separate<T, const T>(shape, values, keys.dim(1), shape.kv_heads);
    const auto outs = separate<T, T>(shape, out, shape.sequence, shape.heads);
    // Fewer queries leave most of a tile empty.
    constexpr int64_t kTileWorthwhile = 16;
    if (shape.sequence >= kTileWorthwhile) return launch_forward<T>(stream, call, outs, nullptr);
    TRIDENT_CHECK(shape.head_dim <= kMaxHeadDim, "attention on GPUs takes heads of up to 256 dimensions");
    const int64_t blocks = shape.batch * shape.sequence * shape.heads;
    TRIDENT_CHECK(blocks <= INT32_MAX, "attention_cached needs too many blocks");
    cached_row_kernel<T><<<static_cast<unsigned>(blocks), kRowWarps * kWarp, 0, queue_of(stream)>>>(call, outs);
    check_launch("attention_cached");
  });
}

}  // namespace trident::cuda
