// Tiles of queries against blocks of keys: scores of one tile and block stay in the L2 cache, and blocks that the
// causal mask hides are never computed. Legend: t position, h head dimension; _th is a matrix [t, h].
#include "kernels/cpu/attention.h"

#include <array>
#include <cmath>
#include <limits>
#include <type_traits>

#include "kernels/cpu/attention_rows.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/rows.h"

namespace trident::cpu {
namespace {

constexpr int64_t kQueryTile = 64;
constexpr int64_t kKeyBlock = 512;  // a multiple of kQueryTile

template <class T>
using Accumulator = std::conditional_t<std::is_same_v<T, double>, double, float>;

/// Rows of one head inside a wider matrix.
template <class T>
struct HeadRows {
  T* data = nullptr;
  int64_t stride = 0;

  [[nodiscard]] HeadRows from(int64_t row) const { return {data + row * stride, stride}; }
};

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// The first `rows` rows as a product's operand: bf16 is widened into `slot`.
template <class T>
HeadRows<const Accumulator<T>> operand(HeadRows<const T> from, int64_t rows, int64_t head_dim, ScratchSlot slot) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    auto* const wide = thread_scratch<float>(slot, rows * head_dim);
    convert_rows(from.data, from.stride, wide, head_dim, rows, head_dim);
    return {wide, head_dim};
  } else {
    return from;
  }
}

template <class A, class T>
void store_rows(HeadRows<const A> from, HeadRows<T> to, int64_t rows, int64_t head_dim) {
  if constexpr (std::is_same_v<A, T>) {
    for (int64_t row = 0; row < rows; ++row) std::copy_n(from.from(row).data, head_dim, to.from(row).data);
  } else {
    convert_rows(from.data, from.stride, to.data, to.stride, rows, head_dim);
  }
}

/// A tile of queries of one head: row r stands at position first_position + r and sees keys up to its own.
struct QueryTile {
  int64_t first_position = 0;
  int64_t rows = 0;
  int64_t head_dim = 0;

  [[nodiscard]] int64_t keys() const { return first_position + rows; }
  /// Calls f(first key, keys) for every block of keys that the tile sees.
  template <class F>
  void for_key_blocks(const F& f) const {
    for (int64_t key = 0; key < keys(); key += kKeyBlock) f(key, std::min(kKeyBlock, keys() - key));
  }
};

template <class A>
ScoreTile<A> score_tile(const QueryTile& tile, int64_t key, int64_t keys, ScratchSlot slot) {
  const int64_t stride = ceil_div(keys, kScoreAlignment) * kScoreAlignment;
  return {thread_scratch<A>(slot, tile.rows * stride), stride, tile.rows, keys, tile.first_position - key + 1};
}

double score_scale(int64_t head_dim) { return 1.0 / std::sqrt(static_cast<double>(head_dim)); }

/// Output of one tile; `lse`, where not null, receives its rows' log-sum-exp.
template <class T>
void forward_tile(const Gemms& gemms, const QueryTile& tile, HeadRows<const T> queries, HeadRows<const T> keys,
                  HeadRows<const T> values, HeadRows<T> out, Accumulator<T>* lse) {
  using A = Accumulator<T>;
  constexpr DType kDType = DTypeOf<T>::value;
  const int64_t head_dim = tile.head_dim;
  std::array<A, kQueryTile> maximum{};
  std::array<A, kQueryTile> sum{};
  std::array<A, kQueryTile> factor{};
  maximum.fill(-std::numeric_limits<A>::infinity());
  const auto q_th = operand(queries, tile.rows, head_dim, ScratchSlot::queries);
  auto* const o_th = thread_scratch<A>(ScratchSlot::product, tile.rows * head_dim);
  tile.for_key_blocks([&](int64_t key, int64_t count) {
    const auto k_th = operand(keys.from(key), count, head_dim, ScratchSlot::keys);
    const auto scores = score_tile<A>(tile, key, count, ScratchSlot::scores);
    gemms(GemmCall<A>{GemmForm::nt, tile.rows, count, head_dim, q_th.data, q_th.stride, k_th.data, k_th.stride,
                      scores.data, scores.stride, static_cast<A>(score_scale(head_dim))},
          kDType);
    online_softmax(scores, maximum.data(), sum.data(), factor.data());
    if (key > 0) scale_rows(o_th, head_dim, tile.rows, head_dim, factor.data());
    const auto v_th = operand(values.from(key), count, head_dim, ScratchSlot::values);
    gemms(GemmCall<A>{GemmForm::nn, tile.rows, head_dim, count, scores.data, scores.stride, v_th.data, v_th.stride,
                      o_th, head_dim, A(1), key > 0 ? A(1) : A(0)},
          kDType);
  });
  for (int64_t row = 0; row < tile.rows; ++row) {
    const auto r = static_cast<size_t>(row);
    factor[r] = A(1) / sum[r];
    if (lse != nullptr) lse[row] = maximum[r] + std::log(sum[r]);
  }
  scale_rows(o_th, head_dim, tile.rows, head_dim, factor.data());
  store_rows(HeadRows<const A>{o_th, head_dim}, out, tile.rows, head_dim);
}

/// Where the heads of one call lie.
template <class T>
struct PackedHeads {
  const AttentionShape& shape;
  T* qkv;

  [[nodiscard]] int64_t group() const { return shape.heads / shape.kv_heads; }
  [[nodiscard]] HeadRows<T> query(int64_t batch, int64_t head) const { return at(batch, head); }
  [[nodiscard]] HeadRows<T> key(int64_t batch, int64_t kv_head) const { return at(batch, shape.heads + kv_head); }
  [[nodiscard]] HeadRows<T> value(int64_t batch, int64_t kv_head) const {
    return at(batch, shape.heads + shape.kv_heads + kv_head);
  }

 private:
  [[nodiscard]] HeadRows<T> at(int64_t batch, int64_t column) const {
    const int64_t stride = shape.qkv_columns();
    return {qkv + batch * shape.sequence * stride + column * shape.head_dim, stride};
  }
};

/// One head's rows in [batch, sequence, heads·head_dim].
template <class T>
HeadRows<T> output_rows(const AttentionShape& shape, T* out, int64_t batch, int64_t head) {
  const int64_t stride = shape.heads * shape.head_dim;
  return {out + batch * shape.sequence * stride + head * shape.head_dim, stride};
}

QueryTile query_tile(const AttentionShape& shape, int64_t index, int64_t first_position) {
  const int64_t row = index * kQueryTile;
  return {first_position + row, std::min(kQueryTile, shape.sequence - row), shape.head_dim};
}

/// Calls f(batch, head, tile index) from the pool. Late tiles see most keys, so they start first.
template <class F>
void for_query_tiles(const Stream& stream, const AttentionShape& shape, const F& f) {
  const int64_t tiles = ceil_div(shape.sequence, kQueryTile);
  const int64_t heads = shape.batch * shape.heads;
  stream.pool().parallel_for(tiles * heads, [&](int64_t index) {
    const int64_t head = index % heads;
    f(head / shape.heads, head % shape.heads, tiles - 1 - index / heads);
  });
}

template <class T>
void forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out, Tensor& lse) {
  const Gemms gemms(stream);
  const PackedHeads<const T> heads{shape, qkv.data<T>()};
  auto* const lse_data = lse.data<Accumulator<T>>();
  for_query_tiles(stream, shape, [&](int64_t batch, int64_t head, int64_t index) {
    const int64_t kv_head = head / heads.group();
    const int64_t row = index * kQueryTile;
    forward_tile<T>(gemms, query_tile(shape, index, 0), heads.query(batch, head).from(row), heads.key(batch, kv_head),
                    heads.value(batch, kv_head), output_rows(shape, out.data<T>(), batch, head).from(row),
                    lse_data + (batch * shape.heads + head) * shape.sequence + row);
  });
}

template <class T>
void cached(const Stream& stream, const AttentionShape& shape, int64_t first_position, const Tensor& qkv,
            const Tensor& keys, const Tensor& values, Tensor& out) {
  const Gemms gemms(stream);
  const PackedHeads<const T> heads{shape, qkv.data<T>()};
  const int64_t stride = shape.kv_heads * shape.head_dim;
  const int64_t capacity = keys.dim(1);
  for_query_tiles(stream, shape, [&](int64_t batch, int64_t head, int64_t index) {
    const int64_t offset = batch * capacity * stride + head / heads.group() * shape.head_dim;
    const int64_t row = index * kQueryTile;
    forward_tile<T>(gemms, query_tile(shape, index, first_position), heads.query(batch, head).from(row),
                    HeadRows<const T>{keys.data<T>() + offset, stride},
                    HeadRows<const T>{values.data<T>() + offset, stride},
                    output_rows(shape, out.data<T>(), batch, head).from(row), nullptr);
  });
}

/// What the backward pass of one key-value head reads and writes.
template <class T>
struct HeadGradients {
  HeadRows<const T> keys, values;
  HeadRows<Accumulator<T>> dkeys, dvalues;  ///< added to
};

template <class T>
struct QueryGradients {
  HeadRows<const T> queries, out, dout;
  const Accumulator<T>* lse;
  HeadRows<T> dqueries;
};

/// Adds one tile's share to the gradients of the keys and values it sees, and writes its queries' gradients.
template <class T>
void backward_tile(const Gemms& gemms, const QueryTile& tile, const HeadGradients<T>& head,
                   const QueryGradients<T>& query) {
  using A = Accumulator<T>;
  constexpr DType kDType = DTypeOf<T>::value;
  const int64_t head_dim = tile.head_dim;
  const auto scale = static_cast<A>(score_scale(head_dim));
  const auto q_th = operand(query.queries, tile.rows, head_dim, ScratchSlot::queries);
  const auto do_th = operand(query.dout, tile.rows, head_dim, ScratchSlot::output_gradients);
  auto* const dq_th = thread_scratch<A>(ScratchSlot::query_gradients, tile.rows * head_dim);
  std::array<A, kQueryTile> delta{};
  const auto o_th = operand(query.out, tile.rows, head_dim, ScratchSlot::product);
  row_dots(do_th.data, do_th.stride, o_th.data, o_th.stride, tile.rows, head_dim, delta.data());
  tile.for_key_blocks([&](int64_t key, int64_t count) {
    const auto k_th = operand(head.keys.from(key), count, head_dim, ScratchSlot::keys);
    const auto v_th = operand(head.values.from(key), count, head_dim, ScratchSlot::values);
    const auto p = score_tile<A>(tile, key, count, ScratchSlot::scores);
    const auto ds = score_tile<A>(tile, key, count, ScratchSlot::score_gradients);
    const auto dk_th = head.dkeys.from(key);
    const auto dv_th = head.dvalues.from(key);
    const A first = key > 0 ? A(1) : A(0);
    gemms(GemmCall<A>{GemmForm::nt, tile.rows, count, head_dim, q_th.data, q_th.stride, k_th.data, k_th.stride, p.data,
                      p.stride, scale},
          kDType);
    gemms(GemmCall<A>{GemmForm::nt, tile.rows, count, head_dim, do_th.data, do_th.stride, v_th.data, v_th.stride,
                      ds.data, ds.stride},
          kDType);
    softmax_gradient(p, ds.data, query.lse, delta.data(), scale);
    gemms(GemmCall<A>{GemmForm::tn, count, head_dim, tile.rows, p.data, p.stride, do_th.data, do_th.stride, dv_th.data,
                      dv_th.stride, A(1), A(1)},
          kDType);
    gemms(GemmCall<A>{GemmForm::tn, count, head_dim, tile.rows, ds.data, ds.stride, q_th.data, q_th.stride, dk_th.data,
                      dk_th.stride, A(1), A(1)},
          kDType);
    gemms(GemmCall<A>{GemmForm::nn, tile.rows, head_dim, count, ds.data, ds.stride, k_th.data, k_th.stride, dq_th,
                      head_dim, A(1), first},
          kDType);
  });
  store_rows(HeadRows<const A>{dq_th, head_dim}, query.dqueries, tile.rows, head_dim);
}

/// Where gradients of keys or values add up: in place, or, where that would round every step, in `slot`.
template <class T>
HeadRows<Accumulator<T>> zeroed_sums(HeadRows<T> target, const AttentionShape& shape, ScratchSlot slot) {
  using A = Accumulator<T>;
  HeadRows<A> sums;
  if constexpr (std::is_same_v<T, A>) {
    sums = target;
  } else {
    sums = {thread_scratch<A>(slot, shape.sequence * shape.head_dim), shape.head_dim};
  }
  for (int64_t row = 0; row < shape.sequence; ++row) std::fill_n(sums.from(row).data, shape.head_dim, A(0));
  return sums;
}

/// A task is one key-value head with all query heads that read it: their shares add up in a fixed order.
template <class T>
void backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
              const Tensor& lse, const Tensor& dout, Tensor& dqkv) {
  using A = Accumulator<T>;
  const Gemms gemms(stream);
  const PackedHeads<const T> heads{shape, qkv.data<T>()};
  const PackedHeads<T> gradients{shape, dqkv.data<T>()};
  const int64_t tiles = ceil_div(shape.sequence, kQueryTile);
  stream.pool().parallel_for(shape.batch * shape.kv_heads, [&](int64_t task) {
    const int64_t batch = task / shape.kv_heads;
    const int64_t kv_head = task % shape.kv_heads;
    const auto dkeys = gradients.key(batch, kv_head);
    const auto dvalues = gradients.value(batch, kv_head);
    const HeadGradients<T> head{heads.key(batch, kv_head), heads.value(batch, kv_head),
                                zeroed_sums(dkeys, shape, ScratchSlot::key_gradients),
                                zeroed_sums(dvalues, shape, ScratchSlot::value_gradients)};
    for (int64_t h = kv_head * heads.group(); h < (kv_head + 1) * heads.group(); ++h) {
      const A* const head_lse = lse.data<A>() + (batch * shape.heads + h) * shape.sequence;
      for (int64_t index = 0; index < tiles; ++index) {
        const int64_t row = index * kQueryTile;
        backward_tile<T>(
            gemms, query_tile(shape, index, 0), head,
            {heads.query(batch, h).from(row), output_rows<const T>(shape, out.data<T>(), batch, h).from(row),
             output_rows<const T>(shape, dout.data<T>(), batch, h).from(row), head_lse + row,
             gradients.query(batch, h).from(row)});
      }
    }
    if constexpr (!std::is_same_v<T, A>) {
      convert_rows(head.dkeys.data, shape.head_dim, dkeys.data, dkeys.stride, shape.sequence, shape.head_dim);
      convert_rows(head.dvalues.data, shape.head_dim, dvalues.data, dvalues.stride, shape.sequence, shape.head_dim);
    }
  });
}

template <class F>
void for_all_blocks(const AttentionShape& shape, const F& f) {
  for (int64_t index = 0; index < ceil_div(shape.sequence, kQueryTile); ++index) {
    const QueryTile tile = query_tile(shape, index, 0);
    tile.for_key_blocks([&](int64_t, int64_t count) { f(tile.rows, count); });
  }
}

}  // namespace

void attention_forward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, Tensor& out, Tensor& lse) {
  switch (qkv.dtype()) {
    case DType::fp64: return forward<double>(stream, shape, qkv, out, lse);
    case DType::fp32: return forward<float>(stream, shape, qkv, out, lse);
    case DType::bf16: return forward<bfloat16>(stream, shape, qkv, out, lse);
    case DType::int32: break;
  }
  TRIDENT_CHECK(false, "attention over integers");
}

void attention_backward(const Stream& stream, const AttentionShape& shape, const Tensor& qkv, const Tensor& out,
                        const Tensor& lse, const Tensor& dout, Tensor& dqkv) {
  switch (qkv.dtype()) {
    case DType::fp64: return backward<double>(stream, shape, qkv, out, lse, dout, dqkv);
    case DType::fp32: return backward<float>(stream, shape, qkv, out, lse, dout, dqkv);
    case DType::bf16: return backward<bfloat16>(stream, shape, qkv, out, lse, dout, dqkv);
    case DType::int32: break;
  }
  TRIDENT_CHECK(false, "attention over integers");
}

void attention_cached(const Stream& stream, const AttentionShape& shape, int64_t first_position, const Tensor& qkv,
                      const Tensor& keys, const Tensor& values, Tensor& out) {
  switch (qkv.dtype()) {
    case DType::fp64: return cached<double>(stream, shape, first_position, qkv, keys, values, out);
    case DType::fp32: return cached<float>(stream, shape, first_position, qkv, keys, values, out);
    case DType::bf16: return cached<bfloat16>(stream, shape, first_position, qkv, keys, values, out);
    case DType::int32: break;
  }
  TRIDENT_CHECK(false, "attention over integers");
}

void record_attention_forward(GemmRecorder& recorder, const AttentionShape& shape, DType dtype) {
  const int64_t qkv = shape.qkv_columns();
  for_all_blocks(shape, [&](int64_t rows, int64_t keys) {
    record_gemm(recorder, {GemmForm::nt, rows, keys, shape.head_dim, dtype}, {qkv, qkv, 0});
    record_gemm(recorder, {GemmForm::nn, rows, shape.head_dim, keys, dtype}, {0, qkv, 0});
  });
}

void record_attention_backward(GemmRecorder& recorder, const AttentionShape& shape, DType dtype) {
  record_attention_forward(recorder, shape, dtype);
  for_all_blocks(shape, [&](int64_t rows, int64_t keys) {
    record_gemm(recorder, {GemmForm::tn, keys, shape.head_dim, rows, dtype}, {0, shape.heads * shape.head_dim, 0});
  });
}

}  // namespace trident::cpu
