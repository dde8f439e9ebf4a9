#include "kernels/cpu/elementwise.h"

#include <bit>

#include "kernels/cpu/blocks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trident::cpu::HWY_NAMESPACE {

void add(ThreadPool& pool, const Tensor& a, const Tensor& b, Tensor& out) {
  with_float_type(a.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const Tag<T> d;
    const T* a_data = a.data<T>();
    const T* b_data = b.data<T>();
    T* out_data = out.data<T>();
    for_blocks(pool, a.elements(), kBlockElements, [&](int64_t begin, int64_t end) HWY_ATTR {
      for_vectors(d, end - begin, [&](int64_t i, auto n) HWY_ATTR {
        store(hn::Add(load(d, a_data + begin + i, n), load(d, b_data + begin + i, n)), d, out_data + begin + i, n);
      });
    });
  });
}

/// Rounding twice, to single and then to bfloat16, could round away from the nearest. Here the first rounding keeps
/// a sticky last bit ("round to odd"), which makes the second one exact.
inline float round_to_odd(double value) {
  const auto single = static_cast<float>(value);
  if (static_cast<double>(single) == value || std::isnan(value)) return single;
  auto bits = std::bit_cast<uint32_t>(single);
  if (std::abs(static_cast<double>(single)) > std::abs(value)) --bits;
  return std::bit_cast<float>(bits | 1u);
}

template <class From, class To>
HWY_INLINE To convert(From value) {
  if constexpr (std::is_same_v<From, double> && std::is_same_v<To, bfloat16>) {
    return bfloat16(round_to_odd(value));
  } else {
    return static_cast<To>(static_cast<Accumulator<From>>(value));
  }
}

template <class From, class To>
void cast_range(const From* from, To* to, int64_t count) {
  if constexpr (std::is_same_v<Accumulator<From>, float> && std::is_same_v<Accumulator<To>, float>) {
    const Tag<float> d;
    for_vectors(d, count, [&](int64_t i, auto n) HWY_ATTR { store(load(d, from + i, n), d, to + i, n); });
  } else {
    for (int64_t i = 0; i < count; ++i) to[i] = convert<From, To>(from[i]);
  }
}

void cast(ThreadPool& pool, const Tensor& from, Tensor& to) {
  with_float_type(from.dtype(), [&](auto from_zero) HWY_ATTR {
    with_float_type(to.dtype(), [&](auto to_zero) HWY_ATTR {
      const auto* from_data = from.data<decltype(from_zero)>();
      auto* to_data = to.data<decltype(to_zero)>();
      for_blocks(pool, from.elements(), kBlockElements, [&](int64_t begin, int64_t end) HWY_ATTR {
        cast_range(from_data + begin, to_data + begin, end - begin);
      });
    });
  });
}

}  // namespace trident::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trident::cpu {

HWY_EXPORT(add);
HWY_EXPORT(cast);

void add(ThreadPool& pool, const Tensor& a, const Tensor& b, Tensor& out) {
  HWY_DYNAMIC_DISPATCH(add)(pool, a, b, out);
}

void cast(ThreadPool& pool, const Tensor& from, Tensor& to) { HWY_DYNAMIC_DISPATCH(cast)(pool, from, to); }

}  // namespace trident::cpu
#endif  // HWY_ONCE
