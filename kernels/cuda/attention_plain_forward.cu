#include "kernels/cuda/attention_plain.cuh"

namespace trident::cuda {
namespace plain {
namespace {

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
      largest = warp_max<kSide>(largest);
      A tile_total = A(0);
#pragma unroll
      for (int j = 0; j < kMicro; ++j) {
        p[i][j] = exp(p[i][j] - largest);
        tile_total += p[i][j];
      }
      const A factor = exp(maximum[i] - largest);
      total[i] = total[i] * factor + warp_sum<kSide>(tile_total);
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

}  // namespace
}  // namespace plain

void plain_attention_forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out,
                             Tensor& lse) {
  if (plain::is_empty(shape)) return;
  with_float_type(qkv.dtype(), [&](auto zero) {
    using T = decltype(zero);
    plain::launch_forward<T>(stream, plain::call_of<T>(shape, qkv),
                             plain::separate<T, T>(shape, out, shape.sequence, shape.heads),
                             data_of<Accumulator<T>>(lse));
  });
}

void plain_attention_cached(const Stream& stream, const AttentionShape& shape, int64_t first_position,
                            const Tensor& qkv, const Tensor& keys, const Tensor& values, Tensor& out) {
  if (plain::is_empty(shape)) return;
  with_float_type(qkv.dtype(), [&](auto zero) {
    using T = decltype(zero);
    plain::Call<T> call = plain::call_of<T>(shape, qkv);
    call.first_position = first_position;
    call.keys = plain::separate<T, const T>(shape, keys, keys.dim(1), shape.kv_heads);
    call.values = plain::separate<T, const T>(shape, values, keys.dim(1), shape.kv_heads);
    const auto outs = plain::separate<T, T>(shape, out, shape.sequence, shape.heads);
    // Fewer queries leave most of a tile empty.
    constexpr int64_t kTileWorthwhile = 16;
    if (shape.sequence >= kTileWorthwhile) return plain::launch_forward<T>(stream, call, outs, nullptr);
    TRIDENT_CHECK(shape.head_dim <= plain::kMaxHeadDim, "attention on GPUs takes heads of up to 256 dimensions");
    const int64_t blocks = shape.batch * shape.sequence * shape.heads;
    TRIDENT_CHECK(blocks <= INT32_MAX, "attention_cached needs too many blocks");
    plain::cached_row_kernel<T>
        <<<static_cast<unsigned>(blocks), plain::kRowWarps * kWarp, 0, queue_of(stream)>>>(call, outs);
    check_launch("attention_cached");
  });
}

}  // namespace trident::cuda
