#include "kernels/cpu/attention_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>

// clang-format off
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_rows.cpp"
#include <hwy/foreach_target.h>  // before all other headers of Highway
#include <hwy/highway.h>
#include <hwy/contrib/math/math-inl.h>
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace trident::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

/// Highway's exp makes 0 of NaN; a run that diverges must not hide it.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp_or_nan(D d, V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, x));
}

/// Calls whole(i) for vectors that row `row` sees entirely, part(i, mask) for the one it sees in part, and hidden(i)
/// for the rest.
template <class D, class T, class Whole, class Part, class Hidden>
HWY_INLINE void for_row(D d, const ScoreTile<T>& tile, int64_t row, const Whole& whole, const Part& part,
                        const Hidden& hidden) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t visible = std::clamp<int64_t>(tile.visible + row, 0, tile.columns);
  int64_t i = 0;
  for (; i + lanes <= visible; i += lanes) whole(i);
  if (i < visible) {
    part(i, hn::FirstN(d, static_cast<size_t>(visible - i)));
    i += lanes;
  }
  for (; i < tile.columns; i += lanes) hidden(i);
}

template <class T>
HWY_INLINE void softmax_step(const ScoreTile<T>& tile, T* maximum, T* sum, T* correction) {
  const hn::ScalableTag<T> d;
  const auto lowest = hn::Set(d, -std::numeric_limits<T>::infinity());
  for (int64_t row = 0; row < tile.rows; ++row) {
    T* const scores = tile.data + row * tile.stride;
    auto largest = lowest;
    for_row(
        d, tile, row, [&](int64_t i) HWY_ATTR { largest = hn::Max(largest, hn::LoadU(d, scores + i)); },
        [&](int64_t i, auto mask)
            HWY_ATTR { largest = hn::Max(largest, hn::IfThenElse(mask, hn::LoadU(d, scores + i), lowest)); },
        [](int64_t) HWY_ATTR {});
    const T new_maximum = std::max(maximum[row], hn::GetLane(hn::MaxOfLanes(d, largest)));
    const auto shift = hn::Set(d, new_maximum);
    auto total = hn::Zero(d);
    for_row(
        d, tile, row,
        [&](int64_t i) HWY_ATTR {
          const auto p = exp_or_nan(d, hn::Sub(hn::LoadU(d, scores + i), shift));
          total = hn::Add(total, p);
          hn::StoreU(p, d, scores + i);
        },
        [&](int64_t i, auto mask) HWY_ATTR {
          const auto p = hn::IfThenElseZero(mask, exp_or_nan(d, hn::Sub(hn::LoadU(d, scores + i), shift)));
          total = hn::Add(total, p);
          hn::StoreU(p, d, scores + i);
        },
        [&](int64_t i) HWY_ATTR { hn::StoreU(hn::Zero(d), d, scores + i); });
    correction[row] = std::exp(maximum[row] - new_maximum);
    sum[row] = sum[row] * correction[row] + hn::GetLane(hn::SumOfLanes(d, total));
    maximum[row] = new_maximum;
  }
}

template <class T>
HWY_INLINE void gradient_step(const ScoreTile<T>& tile, T* all_gradients, const T* lse, const T* delta, T scale) {
  const hn::ScalableTag<T> d;
  const auto factor = hn::Set(d, scale);
  for (int64_t row = 0; row < tile.rows; ++row) {
    T* const scores = tile.data + row * tile.stride;
    T* const gradients = all_gradients + row * tile.stride;
    const auto shift = hn::Set(d, lse[row]);
    const auto mean = hn::Set(d, delta[row]);
    const auto store = [&](int64_t i, auto p, auto ds) HWY_ATTR {
      hn::StoreU(p, d, scores + i);
      hn::StoreU(ds, d, gradients + i);
    };
    const auto probability = [&](int64_t i)
                                 HWY_ATTR { return exp_or_nan(d, hn::Sub(hn::LoadU(d, scores + i), shift)); };
    const auto gradient = [&](int64_t i, auto p) HWY_ATTR {
      return hn::Mul(hn::Mul(p, factor), hn::Sub(hn::LoadU(d, gradients + i), mean));
    };
    for_row(
        d, tile, row,
        [&](int64_t i) HWY_ATTR {
          const auto p = probability(i);
          store(i, p, gradient(i, p));
        },
        [&](int64_t i, auto mask) HWY_ATTR {
          const auto p = probability(i);
          store(i, hn::IfThenElseZero(mask, p), hn::IfThenElseZero(mask, gradient(i, p)));
        },
        [&](int64_t i) HWY_ATTR { store(i, hn::Zero(d), hn::Zero(d)); });
  }
}

template <class T>
HWY_INLINE void scale_each_row(T* data, int64_t stride, int64_t rows, int64_t columns, const T* factors) {
  for (int64_t row = 0; row < rows; ++row, data += stride) {
    const T factor = factors[row];
    for (int64_t i = 0; i < columns; ++i) data[i] *= factor;
  }
}

template <class T>
HWY_INLINE void dot_each_row(const T* a, int64_t a_stride, const T* b, int64_t b_stride, int64_t rows, int64_t columns,
                             T* dots) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t row = 0; row < rows; ++row, a += a_stride, b += b_stride) {
    auto total = hn::Zero(d);
    int64_t i = 0;
    for (; i + lanes <= columns; i += lanes) total = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), total);
    dots[row] = hn::GetLane(hn::SumOfLanes(d, total));
    for (; i < columns; ++i) dots[row] += a[i] * b[i];
  }
}

void softmax_fp32(const ScoreTile<float>& tile, float* maximum, float* sum, float* correction) {
  softmax_step(tile, maximum, sum, correction);
}
void softmax_fp64(const ScoreTile<double>& tile, double* maximum, double* sum, double* correction) {
  softmax_step(tile, maximum, sum, correction);
}
void gradient_fp32(const ScoreTile<float>& tile, float* gradients, const float* lse, const float* delta, float scale) {
  gradient_step(tile, gradients, lse, delta, scale);
}
void gradient_fp64(const ScoreTile<double>& tile, double* gradients, const double* lse, const double* delta,
                   double scale) {
  gradient_step(tile, gradients, lse, delta, scale);
}
void scale_fp32(float* data, int64_t stride, int64_t rows, int64_t columns, const float* factors) {
  scale_each_row(data, stride, rows, columns, factors);
}
void scale_fp64(double* data, int64_t stride, int64_t rows, int64_t columns, const double* factors) {
  scale_each_row(data, stride, rows, columns, factors);
}
void dots_fp32(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t rows, int64_t columns,
               float* dots) {
  dot_each_row(a, a_stride, b, b_stride, rows, columns, dots);
}
void dots_fp64(const double* a, int64_t a_stride, const double* b, int64_t b_stride, int64_t rows, int64_t columns,
               double* dots) {
  dot_each_row(a, a_stride, b, b_stride, rows, columns, dots);
}

}  // namespace trident::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trident::cpu {

HWY_EXPORT(softmax_fp32);
HWY_EXPORT(softmax_fp64);
HWY_EXPORT(gradient_fp32);
HWY_EXPORT(gradient_fp64);
HWY_EXPORT(scale_fp32);
HWY_EXPORT(scale_fp64);
HWY_EXPORT(dots_fp32);
HWY_EXPORT(dots_fp64);

void online_softmax(const ScoreTile<float>& scores, float* maximum, float* sum, float* correction) {
  HWY_DYNAMIC_DISPATCH(softmax_fp32)(scores, maximum, sum, correction);
}
void online_softmax(const ScoreTile<double>& scores, double* maximum, double* sum, double* correction) {
  HWY_DYNAMIC_DISPATCH(softmax_fp64)(scores, maximum, sum, correction);
}
void softmax_gradient(const ScoreTile<float>& scores, float* gradients, const float* lse, const float* delta,
                      float scale) {
  HWY_DYNAMIC_DISPATCH(gradient_fp32)(scores, gradients, lse, delta, scale);
}
void softmax_gradient(const ScoreTile<double>& scores, double* gradients, const double* lse, const double* delta,
                      double scale) {
  HWY_DYNAMIC_DISPATCH(gradient_fp64)(scores, gradients, lse, delta, scale);
}
void scale_rows(float* data, int64_t stride, int64_t rows, int64_t columns, const float* factors) {
  HWY_DYNAMIC_DISPATCH(scale_fp32)(data, stride, rows, columns, factors);
}
void scale_rows(double* data, int64_t stride, int64_t rows, int64_t columns, const double* factors) {
  HWY_DYNAMIC_DISPATCH(scale_fp64)(data, stride, rows, columns, factors);
}
void row_dots(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t rows, int64_t columns,
              float* dots) {
  HWY_DYNAMIC_DISPATCH(dots_fp32)(a, a_stride, b, b_stride, rows, columns, dots);
}
void row_dots(const double* a, int64_t a_stride, const double* b, int64_t b_stride, int64_t rows, int64_t columns,
              double* dots) {
  HWY_DYNAMIC_DISPATCH(dots_fp64)(a, a_stride, b, b_stride, rows, columns, dots);
}

}  // namespace trident::cpu
#endif  // HWY_ONCE
