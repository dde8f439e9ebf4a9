#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include "kernels/cuda/attention_plain.h"
#include "kernels/cuda/launch.cuh"

// The plain kernels' tiles. Tiles of queries against tiles of keys, both in shared memory and widened to the
// accumulator's type. A block of kSide × kSide threads computes every product of two tiles; thread (y, x) owns rows y +
// kSide·i and columns x + kSide·j of it, so that the kSide lanes of half a warp share their rows. Nothing is added
// atomically: dK and dV of a key tile are one block's sum over all queries, dQ of a query tile another's over all keys.
namespace trident::cuda::plain {

inline constexpr int kSide = 16;
inline constexpr int kThreads = kSide * kSide;
inline constexpr int kMaxHeadDim = 256;

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

struct QueryTile {
  int64_t batch, head, row;
};

/// Late tiles see most keys, so they start first.
__device__ inline QueryTile query_tile_of_block(const AttentionShape& shape, int tile_rows) {
  const int64_t heads = shape.batch * shape.heads;
  const int64_t tiles = (shape.sequence + tile_rows - 1) / tile_rows;
  const int64_t head = blockIdx.x % heads;
  return {head / shape.heads, head % shape.heads, (tiles - 1 - blockIdx.x / heads) * tile_rows};
}

extern __shared__ __align__(16) unsigned char shared_memory[];

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

inline bool is_empty(const AttentionShape& shape) { return shape.batch == 0 || shape.sequence == 0; }

}  // namespace trident::cuda::plain
