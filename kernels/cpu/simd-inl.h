// Vectors of the accumulation type, loaded from and stored to tensors of any floating-point dtype. Included once for
// every instruction set (Highway's foreach_target.h), hence the toggled guard instead of #pragma once.
#if defined(TRIDENT_KERNELS_CPU_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TRIDENT_KERNELS_CPU_SIMD_INL_H_
#undef TRIDENT_KERNELS_CPU_SIMD_INL_H_
#else
#define TRIDENT_KERNELS_CPU_SIMD_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "kernels/cpu/blocks.h"

HWY_BEFORE_NAMESPACE();
namespace trident::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

template <class T>
using Tag = hn::ScalableTag<Accumulator<T>>;

template <class D>
using Vec = hn::Vec<D>;

/// Number of elements of a whole vector; a plain int64_t stands for the first few of one, at the end of a row.
struct Whole {};

template <class D>
HWY_INLINE Vec<D> load(D d, const hn::TFromD<D>* from, Whole) {
  return hn::LoadU(d, from);
}

template <class D>
HWY_INLINE Vec<D> load(D d, const bfloat16* from, Whole) {
  static_assert(sizeof(bfloat16) == sizeof(uint16_t));
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, D> half;
  const auto bits = hn::LoadU(half, reinterpret_cast<const uint16_t*>(from));
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, bits)));
}

template <class D>
HWY_INLINE void store(Vec<D> v, D d, hn::TFromD<D>* to, Whole) {
  hn::StoreU(v, d, to);
}

/// Bits of the nearest bfloat16, ties to even, in the low half of every lane. NaN stays NaN.
template <class D>
HWY_INLINE hn::Vec<hn::RebindToUnsigned<D>> bfloat16_bits(D /*d*/, Vec<D> v) {
  const hn::RebindToUnsigned<D> du;
  const auto word = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(word), hn::Set(du, 1u));
  const auto rounded = hn::ShiftRight<16>(hn::Add(word, hn::Add(odd, hn::Set(du, 0x7fffu))));
  const auto quiet = hn::Or(hn::ShiftRight<16>(word), hn::Set(du, 0x40u));
  return hn::IfThenElse(hn::RebindMask(du, hn::IsNaN(v)), quiet, rounded);
}

template <class D>
HWY_INLINE void store(Vec<D> v, D d, bfloat16* to, Whole) {
  const hn::RebindToSigned<D> di;
  const hn::Rebind<uint16_t, D> half;
  const auto bits = hn::BitCast(di, bfloat16_bits(d, v));
  hn::StoreU(hn::DemoteTo(half, bits), half, reinterpret_cast<uint16_t*>(to));
}

/// The first `count` elements; the other lanes are `fill`.
template <class D, class T>
HWY_INLINE Vec<D> load(D d, const T* from, int64_t count, T fill = T(0)) {
  HWY_ALIGN T lanes[HWY_MAX_BYTES / sizeof(hn::TFromD<D>)];
  for (int64_t i = 0; i < static_cast<int64_t>(hn::Lanes(d)); ++i) lanes[i] = i < count ? from[i] : fill;
  return load(d, lanes, Whole{});
}

template <class D, class T>
HWY_INLINE Vec<D> load(D d, const T* from, Whole whole, T /*fill*/) {
  return load(d, from, whole);
}

template <class D, class T>
HWY_INLINE void store(Vec<D> v, D d, T* to, int64_t count) {
  HWY_ALIGN T lanes[HWY_MAX_BYTES / sizeof(hn::TFromD<D>)];
  store(v, d, lanes, Whole{});
  for (int64_t i = 0; i < count; ++i) to[i] = lanes[i];
}

/// `v` as it reads back after being stored as T.
template <class T, class D>
HWY_INLINE Vec<D> rounded_to(D d, Vec<D> v) {
  if constexpr (std::is_same_v<T, bfloat16>) {
    return hn::BitCast(d, hn::ShiftLeft<16>(bfloat16_bits(d, v)));
  } else {
    return v;
  }
}

/// Calls body(i, n) for [0, count) in steps of one vector; n is Whole except for the elements that are left at the end.
template <class D, class Body>
HWY_INLINE void for_vectors(D d, int64_t count, const Body& body) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) body(i, Whole{});
  if (i < count) body(i, count - i);
}

template <class D>
HWY_INLINE hn::TFromD<D> sum_of_lanes(D d, Vec<D> v) {
  return hn::GetLane(hn::SumOfLanes(d, v));
}

/// Calls op for every lane: for fp64, where exactness counts and speed does not.
template <class D, class Op>
HWY_INLINE Vec<D> map_lanes(D d, Vec<D> v, const Op& op) {
  HWY_ALIGN hn::TFromD<D> lanes[HWY_MAX_BYTES / sizeof(hn::TFromD<D>)];
  hn::Store(v, d, lanes);
  for (size_t i = 0; i < hn::Lanes(d); ++i) lanes[i] = op(lanes[i]);
  return hn::Load(d, lanes);
}

/// exp(x) for x below 88; below −87.3, where the result is subnormal, 0.
///
/// fp32: x = n·ln 2 + r with |r| <= ln 2 / 2, exp(x) = 2ⁿ·p(r), relative error below 1e-7; p has the coefficients
/// that Remez's algorithm gives. The sum with 1.5·2²³ leaves n in the low mantissa bits, from where one shift makes it
/// an exponent.
template <class D>
HWY_INLINE Vec<D> exp(D d, Vec<D> x) {
  if constexpr (std::is_same_v<hn::TFromD<D>, double>) {
    return map_lanes(d, x, [](double lane) { return std::exp(lane); });
  } else {
    const hn::RebindToUnsigned<D> du;
    const auto shift = hn::Set(d, 12582912.0f);
    const auto lowest = hn::Set(d, -88.0f);
    x = hn::IfThenElse(hn::Lt(x, lowest), lowest, x);  // unlike Max, keeps NaN on every machine
    const auto shifted = hn::MulAdd(x, hn::Set(d, 1.44269504f), shift);
    const auto n = hn::Sub(shifted, shift);
    auto r = hn::NegMulAdd(n, hn::Set(d, 0.693145751953125f), x);
    r = hn::NegMulAdd(n, hn::Set(d, 1.42860677e-6f), r);
    auto p = hn::Set(d, 0.00138144672f);
    p = hn::MulAdd(p, r, hn::Set(d, 0.00836878084f));
    p = hn::MulAdd(p, r, hn::Set(d, 0.0416683927f));
    p = hn::MulAdd(p, r, hn::Set(d, 0.166665196f));
    p = hn::MulAdd(p, r, hn::Set(d, 0.49999994f));
    p = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), hn::Set(d, 1.0f));
    const auto exponent = hn::Add(hn::ShiftLeft<23>(hn::BitCast(du, shifted)), hn::Set(du, 0x3f800000u));
    return hn::Mul(p, hn::BitCast(d, exponent));
  }
}

}  // namespace trident::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // TRIDENT_KERNELS_CPU_SIMD_INL_H_
