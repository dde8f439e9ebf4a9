#include "kernels/cpu/activation.h"

#include "kernels/cpu/blocks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/activation.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trident::cpu::HWY_NAMESPACE {

/// σ(x) and 1 − σ(x), both without cancellation and without overflow.
template <class D>
struct Sigmoid {
  Vec<D> value, complement;
};

template <class D>
HWY_INLINE Sigmoid<D> sigmoid(D d, Vec<D> x) {
  const auto one = hn::Set(d, hn::TFromD<D>(1));
  const auto small = exp(d, hn::Neg(hn::Abs(x)));  // in (0, 1]
  const auto large_half = hn::Div(one, hn::Add(one, small));
  const auto small_half = hn::Mul(small, large_half);
  const auto positive = hn::Ge(x, hn::Zero(d));
  return {hn::IfThenElse(positive, large_half, small_half), hn::IfThenElse(positive, small_half, large_half)};
}

/// gelu(x) = x·σ(2u) with u = √(2/π)·(x + 0.044715·x³), since (1 + tanh u)/2 = σ(2u).
template <class D>
struct Gelu {
  Vec<D> value, slope;
};

template <class D>
HWY_INLINE Gelu<D> gelu(D d, Vec<D> x) {
  using A = hn::TFromD<D>;
  constexpr double kTwoRoot = 1.5957691216057307117597842397375;  // 2·√(2/π)
  constexpr double kCubic = 0.044715;
  // Beyond ±100 the sigmoid is 0 or 1 to the last bit, and the cube must not overflow: 0·∞ is not a slope.
  const auto bounded = hn::Min(hn::Set(d, A(100)), hn::Max(hn::Set(d, A(-100)), x));
  const auto square = hn::Mul(bounded, bounded);
  const auto linear = hn::Set(d, A(kTwoRoot));
  const auto twice_u = hn::Mul(bounded, hn::MulAdd(hn::Set(d, A(kTwoRoot * kCubic)), square, linear));
  const auto twice_du = hn::MulAdd(hn::Set(d, A(3 * kTwoRoot * kCubic)), square, linear);
  const auto s = sigmoid(d, twice_u);
  const auto curve = hn::Mul(hn::Mul(bounded, s.complement), twice_du);
  return {hn::Mul(x, s.value), hn::MulAdd(s.value, curve, s.value)};
}

void swiglu_forward(ThreadPool& pool, const Tensor& x, Tensor& y) {
  with_float_type(x.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const Tag<T> d;
    const int64_t columns = y.columns();
    const T* x_data = x.data<T>();
    T* y_data = y.data<T>();
    for_blocks(pool, y.rows(), rows_per_block(columns), [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t row = begin; row < end; ++row) {
        const T* gate = x_data + row * 2 * columns;
        const T* up = gate + columns;
        T* out = y_data + row * columns;
        for_vectors(d, columns, [&](int64_t i, auto n) HWY_ATTR {
          const auto g = load(d, gate + i, n);
          store(hn::Mul(hn::Mul(g, sigmoid(d, g).value), load(d, up + i, n)), d, out + i, n);
        });
      }
    });
  });
}

void swiglu_backward(ThreadPool& pool, const Tensor& dy, const Tensor& x, Tensor& dx, Tensor& y) {
  with_float_type(x.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const Tag<T> d;
    const int64_t columns = dy.columns();
    const T* dy_data = dy.data<T>();
    const T* x_data = x.data<T>();
    T* dx_data = dx.data<T>();
    T* y_data = y.defined() ? y.data<T>() : nullptr;
    for_blocks(pool, dy.rows(), rows_per_block(columns), [&](int64_t begin, int64_t end) HWY_ATTR {
      for (int64_t row = begin; row < end; ++row) {
        const int64_t at = row * columns;
        for_vectors(d, columns, [&](int64_t i, auto n) HWY_ATTR {
          const auto gate = load(d, x_data + 2 * at + i, n);
          const auto up = load(d, x_data + 2 * at + columns + i, n);
          const auto grad = load(d, dy_data + at + i, n);
          const auto s = sigmoid(d, gate);
          const auto silu = hn::Mul(gate, s.value);
          const auto slope = hn::MulAdd(silu, s.complement, s.value);
          store(hn::Mul(hn::Mul(grad, up), slope), d, dx_data + 2 * at + i, n);
          store(hn::Mul(grad, silu), d, dx_data + 2 * at + columns + i, n);
          if (y_data != nullptr) store(hn::Mul(silu, up), d, y_data + at + i, n);
        });
      }
    });
  });
}

void gelu_forward(ThreadPool& pool, const Tensor& x, Tensor& y) {
  with_float_type(x.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const Tag<T> d;
    const T* x_data = x.data<T>();
    T* y_data = y.data<T>();
    for_blocks(pool, x.elements(), kBlockElements, [&](int64_t begin, int64_t end) HWY_ATTR {
      for_vectors(d, end - begin, [&](int64_t i, auto n) HWY_ATTR {
        store(gelu(d, load(d, x_data + begin + i, n)).value, d, y_data + begin + i, n);
      });
    });
  });
}

void gelu_backward(ThreadPool& pool, const Tensor& dy, const Tensor& x, Tensor& dx, Tensor& y) {
  with_float_type(x.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const Tag<T> d;
    const T* dy_data = dy.data<T>();
    const T* x_data = x.data<T>();
    T* dx_data = dx.data<T>();
    T* y_data = y.defined() ? y.data<T>() : nullptr;
    for_blocks(pool, x.elements(), kBlockElements, [&](int64_t begin, int64_t end) HWY_ATTR {
      for_vectors(d, end - begin, [&](int64_t i, auto n) HWY_ATTR {
        const auto grad = load(d, dy_data + begin + i, n);
        const auto g = gelu(d, load(d, x_data + begin + i, n));
        store(hn::Mul(grad, g.slope), d, dx_data + begin + i, n);
        if (y_data != nullptr) store(g.value, d, y_data + begin + i, n);
      });
    });
  });
}

}  // namespace trident::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trident::cpu {

HWY_EXPORT(swiglu_forward);
HWY_EXPORT(swiglu_backward);
HWY_EXPORT(gelu_forward);
HWY_EXPORT(gelu_backward);

void swiglu_forward(ThreadPool& pool, const Tensor& x, Tensor& y) { HWY_DYNAMIC_DISPATCH(swiglu_forward)(pool, x, y); }

void swiglu_backward(ThreadPool& pool, const Tensor& dy, const Tensor& x, Tensor& dx, Tensor& y) {
  HWY_DYNAMIC_DISPATCH(swiglu_backward)(pool, dy, x, dx, y);
}

void gelu_forward(ThreadPool& pool, const Tensor& x, Tensor& y) { HWY_DYNAMIC_DISPATCH(gelu_forward)(pool, x, y); }

void gelu_backward(ThreadPool& pool, const Tensor& dy, const Tensor& x, Tensor& dx, Tensor& y) {
  HWY_DYNAMIC_DISPATCH(gelu_backward)(pool, dy, x, dx, y);
}

}  // namespace trident::cpu
#endif  // HWY_ONCE
