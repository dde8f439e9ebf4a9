#include "kernels/cpu/cross_entropy.h"

#include <cmath>
#include <limits>

#include "kernels/cpu/blocks.h"
#include "kernels/cpu/index_check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/cross_entropy.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trident::cpu::HWY_NAMESPACE {

/// A softmax denominator: Σ exp(x − max).
template <class A>
struct Denominator {
  A max = -std::numeric_limits<A>::infinity();
  A sum = 0;
};

template <class T>
Accumulator<T> row_max(const T* x, int64_t count) {
  const Tag<T> d;
  const T lowest(-std::numeric_limits<Accumulator<T>>::infinity());
  auto max = hn::Set(d, -std::numeric_limits<Accumulator<T>>::infinity());
  for_vectors(d, count, [&](int64_t i, auto n) HWY_ATTR { max = hn::Max(max, load(d, x + i, n, lowest)); });
  return hn::GetLane(hn::MaxOfLanes(d, max));
}

template <class T>
Accumulator<T> sum_of_exp(const T* x, int64_t count, Accumulator<T> max) {
  const Tag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const T lowest(-std::numeric_limits<Accumulator<T>>::infinity());
  const auto shift = hn::Set(d, max);
  auto even = hn::Zero(d), odd = hn::Zero(d);
  int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    even = hn::Add(even, exp(d, hn::Sub(load(d, x + i, Whole{}), shift)));
    odd = hn::Add(odd, exp(d, hn::Sub(load(d, x + i + lanes, Whole{}), shift)));
  }
  for_vectors(d, count - i, [&](int64_t j, auto n) HWY_ATTR {
    even = hn::Add(even, exp(d, hn::Sub(load(d, x + i + j, n, lowest), shift)));
  });
  return sum_of_lanes(d, hn::Add(even, odd));
}

/// One pass over memory: a chunk of the row is read into the L1 cache for its maximum and read there again for its sum,
/// which is rescaled when a later chunk raises the maximum (Milakov and Gimelshein, "Online normalizer calculation for
/// softmax", 2018, algorithm 3).
template <class T>
Denominator<Accumulator<T>> denominator(const T* x, int64_t columns) {
  using A = Accumulator<T>;
  constexpr int64_t kChunk = 4096;
  Denominator<A> total;
  for (int64_t begin = 0; begin < columns; begin += kChunk) {
    const int64_t count = std::min(kChunk, columns - begin);
    const A max = row_max(x + begin, count);
    if (!(max <= total.max)) {  // also when max is NaN
      total.sum *= std::exp(total.max - max);
      total.max = max;
    }
    if (total.max == -std::numeric_limits<A>::infinity()) continue;  // −∞ − (−∞) would be NaN
    total.sum += sum_of_exp(x + begin, count, total.max);
  }
  return total;
}

void cross_entropy_statistics(ThreadPool& pool, const Tensor& logits, const Tensor& labels, int64_t first_column,
                              Tensor& statistics) {
  with_float_type(logits.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const int64_t columns = logits.columns();
    const auto* label_data = labels.data<int32_t>();
    const T* logit_data = logits.data<T>();
    A* out = statistics.data<A>();
    for_blocks(pool, logits.rows(), rows_per_block(columns), [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t row = begin; row < end; ++row) {
        const T* x = logit_data + row * columns;
        const auto total = denominator(x, columns);
        const int64_t label = label_data[row] - first_column;
        const bool here = label_data[row] >= 0 && label >= 0 && label < columns;
        out[3 * row] = total.max;
        out[3 * row + 1] = total.sum;
        out[3 * row + 2] = here ? static_cast<A>(x[label]) : A(0);
      }
    });
  });
}

/// `label` < 0: the row's label lies in another part of the vocabulary.
template <class T>
HWY_INLINE void softmax_gradient(T* x, int64_t columns, int64_t label, Accumulator<T> lse, Accumulator<T> weight) {
  using A = Accumulator<T>;
  const Tag<T> d;
  const auto shift = hn::Set(d, lse);
  const auto scale = hn::Set(d, weight);
  const A of_label = label < 0 ? A(0) : std::exp(static_cast<A>(x[label]) - lse) - A(1);
  for_vectors(d, columns, [&](int64_t i, auto n) HWY_ATTR {
    store(hn::Mul(exp(d, hn::Sub(load(d, x + i, n), shift)), scale), d, x + i, n);
  });
  if (label >= 0) x[label] = static_cast<T>(weight * of_label);
}

void cross_entropy_backward(ThreadPool& pool, const Tensor& labels, int64_t first_column, const Tensor& lse,
                            double weight, Tensor& logits) {
  with_float_type(logits.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const int64_t columns = logits.columns();
    const auto* label_data = labels.data<int32_t>();
    const A* lse_data = lse.data<A>();
    T* logit_data = logits.data<T>();
    for_blocks(pool, logits.rows(), rows_per_block(columns), [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t row = begin; row < end; ++row) {
        T* x = logit_data + row * columns;
        if (label_data[row] < 0) {
          std::fill_n(x, columns, T(0));
        } else {
          const int64_t label = label_data[row] - first_column;
          softmax_gradient(x, columns, label < columns ? label : -1, lse_data[row], static_cast<A>(weight));
        }
      }
    });
  });
}

}  // namespace trident::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trident::cpu {

HWY_EXPORT(cross_entropy_statistics);
HWY_EXPORT(cross_entropy_backward);

void cross_entropy_statistics(ThreadPool& pool, const Tensor& logits, const Tensor& labels, int64_t first_column,
                              Tensor& statistics) {
  HWY_DYNAMIC_DISPATCH(cross_entropy_statistics)(pool, logits, labels, first_column, statistics);
}

namespace {

template <class A>
void combine_parts(const Tensor& statistics, const Tensor& labels, Tensor& losses, Tensor& lse) {
  const int64_t rows = labels.elements(), parts = statistics.rows() / rows;
  const auto part = [&, data = statistics.data<A>()](int64_t index, int64_t row) {
    return data + 3 * (index * rows + row);
  };
  for (int64_t row = 0; row < rows; ++row) {
    A max = part(0, row)[0], sum = 0, target = 0;
    for (int64_t i = 1; i < parts; ++i) max = part(i, row)[0] <= max ? max : part(i, row)[0];  // keeps NaN
    for (int64_t i = 0; i < parts; ++i) {
      const A* values = part(i, row);
      // A part whose logits are all −∞ has no sum to rescale.
      if (values[0] != -std::numeric_limits<A>::infinity()) sum += values[1] * std::exp(values[0] - max);
      target += values[2];
    }
    const A log_sum = std::log(sum);
    lse.data<A>()[row] = max + log_sum;
    // max − logit first: of large logits, lse has already lost the digits that the loss needs.
    losses.data<A>()[row] = labels.data<int32_t>()[row] < 0 ? A(0) : log_sum + (max - target);
  }
}

}  // namespace

void cross_entropy_losses(const Tensor& statistics, const Tensor& labels, int64_t vocabulary, Tensor& losses,
                          Tensor& lse) {
  check_indices("kernels/cross_entropy", "label", labels, -1, vocabulary);
  if (statistics.dtype() == DType::fp64)
    combine_parts<double>(statistics, labels, losses, lse);
  else
    combine_parts<float>(statistics, labels, losses, lse);
}

void sum_losses(const Tensor& losses, Tensor& sum) {
  double total = 0.0;
  with_float_type(losses.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* data = losses.data<T>();
    for (int64_t row = 0; row < losses.elements(); ++row)
      total += static_cast<double>(static_cast<Accumulator<T>>(data[row]));
  });
  *sum.data<double>() = total;
}

void cross_entropy_backward(ThreadPool& pool, const Tensor& labels, int64_t first_column, const Tensor& lse,
                            double weight, Tensor& logits) {
  HWY_DYNAMIC_DISPATCH(cross_entropy_backward)(pool, labels, first_column, lse, weight, logits);
}

}  // namespace trident::cpu
#endif  // HWY_ONCE
