#include "kernels/cpu/norm.h"

#include <memory>

#include "kernels/cpu/blocks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trident::cpu::HWY_NAMESPACE {

/// Mean (0 for rms) and inverse deviation of one row.
template <class A>
struct RowStats {
  A mean, inverse;
};

/// The layer norm's second pass over the row, for the variance, spares it the cancellation of E[x²] − mean².
template <class T>
RowStats<Accumulator<T>> row_stats(NormKind kind, double eps, const T* x, int64_t columns) {
  using A = Accumulator<T>;
  const Tag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto moment = [&](A center) HWY_ATTR {  // Σ (x − center)²
    const auto shift = hn::Set(d, center);
    auto even = hn::Zero(d), odd = hn::Zero(d);
    int64_t i = 0;
    for (; i + 2 * lanes <= columns; i += 2 * lanes) {
      const auto a = hn::Sub(load(d, x + i, Whole{}), shift);
      const auto b = hn::Sub(load(d, x + i + lanes, Whole{}), shift);
      even = hn::MulAdd(a, a, even);
      odd = hn::MulAdd(b, b, odd);
    }
    A rest = 0;
    for (; i < columns; ++i) {
      const A a = static_cast<A>(x[i]) - center;
      rest += a * a;
    }
    return sum_of_lanes(d, hn::Add(even, odd)) + rest;
  };
  A mean = 0;
  if (kind == NormKind::layer) {
    auto sum = hn::Zero(d);
    for_vectors(d, columns, [&](int64_t i, auto n) HWY_ATTR { sum = hn::Add(sum, load(d, x + i, n)); });
    mean = sum_of_lanes(d, sum) / static_cast<A>(columns);
  }
  return {mean, A(1) / std::sqrt(moment(mean) / static_cast<A>(columns) + static_cast<A>(eps))};
}

/// y = (x − mean)·inverse·gain + bias; forward and recompute give the same bits because both end here.
template <class T>
void normalize_row(RowStats<Accumulator<T>> stats, const T* gain, const T* bias, const T* x, T* y, int64_t columns) {
  const Tag<T> d;
  const auto mean = hn::Set(d, stats.mean);
  const auto inverse = hn::Set(d, stats.inverse);
  if (bias == nullptr) {
    for_vectors(d, columns, [&](int64_t i, auto n) HWY_ATTR {
      store(hn::Mul(hn::Mul(load(d, x + i, n), inverse), load(d, gain + i, n)), d, y + i, n);
    });
  } else {
    for_vectors(d, columns, [&](int64_t i, auto n) HWY_ATTR {
      const auto hat = hn::Mul(hn::Sub(load(d, x + i, n), mean), inverse);
      store(hn::MulAdd(hat, load(d, gain + i, n), load(d, bias + i, n)), d, y + i, n);
    });
  }
}

template <class T>
const T* data_or_null(const Tensor& tensor) {
  return tensor.defined() ? tensor.data<T>() : nullptr;
}

void norm_forward(ThreadPool& pool, const NormWeights& weights, const Tensor& x, const Tensor& delta, Tensor& sum,
                  Tensor& y, Tensor& stats) {
  with_float_type(x.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const Tag<T> d;
    const int64_t columns = x.columns();
    const T* gain = weights.gain.data<T>();
    const T* bias = data_or_null<T>(weights.bias);
    const T* x_data = x.data<T>();
    const T* delta_data = data_or_null<T>(delta);
    T* sum_data = sum.defined() ? sum.data<T>() : nullptr;
    T* y_data = y.data<T>();
    auto* stats_data = stats.data<Accumulator<T>>();
    for_blocks(pool, x.rows(), rows_per_block(columns), [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t row = begin; row < end; ++row) {
        const T* input = x_data + row * columns;
        if (delta_data != nullptr) {
          const T* other = delta_data + row * columns;
          T* out = sum_data + row * columns;
          for_vectors(d, columns, [&](int64_t i, auto n) HWY_ATTR {
            store(hn::Add(load(d, input + i, n), load(d, other + i, n)), d, out + i, n);
          });
          input = out;
        }
        const auto row_stat = row_stats(weights.kind, weights.eps, input, columns);
        stats_data[2 * row] = row_stat.mean;
        stats_data[2 * row + 1] = row_stat.inverse;
        normalize_row(row_stat, gain, bias, input, y_data + row * columns, columns);
      }
    });
  });
}

void norm_recompute(ThreadPool& pool, const NormWeights& weights, const Tensor& x, const Tensor& stats, Tensor& y) {
  with_float_type(x.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const int64_t columns = x.columns();
    const T* gain = weights.gain.data<T>();
    const T* bias = data_or_null<T>(weights.bias);
    const T* x_data = x.data<T>();
    T* y_data = y.data<T>();
    const auto* stats_data = stats.data<Accumulator<T>>();
    for_blocks(pool, x.rows(), rows_per_block(columns), [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t row = begin; row < end; ++row) {
        const RowStats<Accumulator<T>> row_stat{stats_data[2 * row], stats_data[2 * row + 1]};
        normalize_row(row_stat, gain, bias, x_data + row * columns, y_data + row * columns, columns);
      }
    });
  });
}

/// One row's tensors in the backward pass. With x̂ = (x − mean)·inverse and g = dy·gain,
/// dx = dresidual + inverse·(g − mean(g) − x̂·mean(g·x̂)), where rms norm has no mean(g);
/// the gradient of gain is dy·x̂ and that of bias is dy, summed over rows.
template <class T>
struct BackwardRow {
  RowStats<Accumulator<T>> stats;
  const T* gain;
  const T* dy;
  const T* x;
  const T* dresidual;  ///< may be null
  T* dx;
  int64_t columns;
};

template <bool kLayer, class T>
HWY_INLINE void norm_backward_row(const BackwardRow<T>& row, Accumulator<T>* dgain, Accumulator<T>* dbias) {
  const Tag<T> d;
  const auto mean = hn::Set(d, row.stats.mean);
  const auto inverse = hn::Set(d, row.stats.inverse);
  const auto x_hat = [&](int64_t i, auto n) HWY_ATTR { return hn::Mul(hn::Sub(load(d, row.x + i, n), mean), inverse); };
  auto sum_g = hn::Zero(d), sum_gx = hn::Zero(d);
  for_vectors(d, row.columns, [&](int64_t i, auto n) HWY_ATTR {
    const auto dy = load(d, row.dy + i, n);
    const auto dy_hat = hn::Mul(dy, x_hat(i, n));
    const auto gain = load(d, row.gain + i, n);
    sum_gx = hn::MulAdd(dy_hat, gain, sum_gx);
    store(hn::Add(load(d, dgain + i, n), dy_hat), d, dgain + i, n);
    if constexpr (kLayer) {
      sum_g = hn::MulAdd(dy, gain, sum_g);
      store(hn::Add(load(d, dbias + i, n), dy), d, dbias + i, n);
    }
  });
  const auto count = static_cast<Accumulator<T>>(row.columns);
  const auto mean_g = hn::Set(d, sum_of_lanes(d, sum_g) / count);
  const auto mean_gx = hn::Set(d, sum_of_lanes(d, sum_gx) / count);
  const auto write = [&](auto with_residual) HWY_ATTR {
    for_vectors(d, row.columns, [&](int64_t i, auto n) HWY_ATTR {
      auto g = hn::Mul(load(d, row.dy + i, n), load(d, row.gain + i, n));
      if constexpr (kLayer) g = hn::Sub(g, mean_g);
      const auto centred = hn::NegMulAdd(x_hat(i, n), mean_gx, g);
      if constexpr (decltype(with_residual)::value) {
        store(hn::MulAdd(centred, inverse, load(d, row.dresidual + i, n)), d, row.dx + i, n);
      } else {
        store(hn::Mul(centred, inverse), d, row.dx + i, n);
      }
    });
  };
  if (row.dresidual != nullptr) {
    write(std::true_type{});
  } else {
    write(std::false_type{});
  }
}

/// Rows whose parameter gradients are summed into one partial row: at most 64 partial rows, so that the scratch
/// memory stays small.
inline int64_t rows_per_partial(int64_t rows, int64_t columns) {
  return std::max(rows_per_block(columns), (rows + 63) / 64);
}

/// Sums the partial rows in order.
template <class A>
void sum_rows(ThreadPool& pool, const A* partials, int64_t rows, A* sums, int64_t columns) {
  const hn::ScalableTag<A> d;
  for_blocks(pool, columns, std::max<int64_t>(64, kBlockElements / rows), [&](int64_t begin, int64_t end) HWY_ATTR {
    for_vectors(d, end - begin, [&](int64_t i, auto n) HWY_ATTR {
      auto sum = hn::Zero(d);
      for (int64_t row = 0; row < rows; ++row) sum = hn::Add(sum, load(d, partials + row * columns + begin + i, n));
      store(sum, d, sums + begin + i, n);
    });
  });
}

template <bool kLayer, class T>
void norm_backward_all(ThreadPool& pool, const BackwardRow<T>& first, const Accumulator<T>* stats, int64_t rows,
                       Accumulator<T>* sums) {
  using A = Accumulator<T>;
  const int64_t columns = first.columns;
  const int64_t partial_columns = (kLayer ? 2 : 1) * columns;
  const int64_t block_rows = rows_per_partial(rows, columns);
  const int64_t blocks = block_count(rows, block_rows);
  const auto partials = std::make_unique_for_overwrite<A[]>(static_cast<size_t>(blocks * partial_columns));
  for_blocks(pool, rows, block_rows, [&](int64_t begin, int64_t end) HWY_ATTR {
    A* partial = partials.get() + begin / block_rows * partial_columns;
    std::fill_n(partial, partial_columns, A(0));
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = row * columns;
      const T* dresidual = first.dresidual == nullptr ? nullptr : first.dresidual + at;
      norm_backward_row<kLayer, T>({{stats[2 * row], stats[2 * row + 1]},
                                    first.gain,
                                    first.dy + at,
                                    first.x + at,
                                    dresidual,
                                    first.dx + at,
                                    columns},
                                   partial, partial + columns);
    }
  });
  sum_rows(pool, partials.get(), std::max<int64_t>(1, blocks), sums, blocks == 0 ? 0 : partial_columns);
  if (blocks == 0) std::fill_n(sums, partial_columns, A(0));
}

void norm_backward(ThreadPool& pool, const NormWeights& weights, const Tensor& dy, const Tensor& x, const Tensor& stats,
                   const Tensor& dresidual, Tensor& dx, Tensor& partials) {
  with_float_type(x.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const BackwardRow<T> first{
        {}, weights.gain.data<T>(), dy.data<T>(), x.data<T>(), data_or_null<T>(dresidual), dx.data<T>(), x.columns()};
    const auto run = weights.kind == NormKind::layer ? norm_backward_all<true, T> : norm_backward_all<false, T>;
    run(pool, first, stats.data<A>(), x.rows(), partials.data<A>());
  });
}

}  // namespace trident::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trident::cpu {

HWY_EXPORT(norm_forward);
HWY_EXPORT(norm_recompute);
HWY_EXPORT(norm_backward);

void norm_forward(ThreadPool& pool, const NormWeights& weights, const Tensor& x, const Tensor& delta, Tensor& sum,
                  Tensor& y, Tensor& stats) {
  HWY_DYNAMIC_DISPATCH(norm_forward)(pool, weights, x, delta, sum, y, stats);
}

void norm_recompute(ThreadPool& pool, const NormWeights& weights, const Tensor& x, const Tensor& stats, Tensor& y) {
  HWY_DYNAMIC_DISPATCH(norm_recompute)(pool, weights, x, stats, y);
}

void norm_backward(ThreadPool& pool, const NormWeights& weights, const Tensor& dy, const Tensor& x, const Tensor& stats,
                   const Tensor& dresidual, Tensor& dx, Tensor& partials) {
  HWY_DYNAMIC_DISPATCH(norm_backward)(pool, weights, dy, x, stats, dresidual, dx, partials);
}

}  // namespace trident::cpu
#endif  // HWY_ONCE
