#include "checkpoint/digest.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <type_traits>

#include "core/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "checkpoint/digest.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace trident::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// An element's term is finalize(bits ^ place·kStep), by SplitMix64 (Steele, Lea and Flood, "Fast splittable
// pseudorandom number generators", OOPSLA 2014): kStep is its Weyl constant, the finalizer its 64-bit one (Stafford's
// "Mix13"). For one place the term is a bijection of the bits, so that a change of one element always shows; being
// nonlinear, terms of changes that depend on one another, such as a swap or two flipped signs, do not cancel.
constexpr uint64_t kStep = 0x9e3779b97f4a7c15;
constexpr uint64_t kFactor1 = 0xbf58476d1ce4e5b9, kFactor2 = 0x94d049bb133111eb;

uint64_t finalize(uint64_t x) {
  x = (x ^ (x >> 30)) * kFactor1;
  x = (x ^ (x >> 27)) * kFactor2;
  return x ^ (x >> 31);
}

using D = hn::ScalableTag<uint64_t>;
using Vec = hn::Vec<D>;

HWY_INLINE Vec finalize(D d, Vec x) {
  x = hn::Mul(hn::Xor(x, hn::ShiftRight<30>(x)), hn::Set(d, kFactor1));
  x = hn::Mul(hn::Xor(x, hn::ShiftRight<27>(x)), hn::Set(d, kFactor2));
  return hn::Xor(x, hn::ShiftRight<31>(x));
}

template <class Bits>
HWY_INLINE Vec load(D d, const std::byte* from) {
  const auto* bits = reinterpret_cast<const Bits*>(from);  // need not be aligned
  if constexpr (std::is_same_v<Bits, uint32_t>)
    return hn::PromoteTo(d, hn::LoadU(hn::Rebind<uint32_t, D>(), bits));
  else
    return hn::LoadU(d, bits);
}

/// Elements that follow one another in the tensor, the first at `place`.
template <class Bits>
uint64_t sum_terms(const std::byte* values, int64_t count, uint64_t place) {
  constexpr auto kSize = static_cast<int64_t>(sizeof(Bits));
  // So much arithmetic stands between loads that the memory's latency would show.
  constexpr int64_t kAhead = 3072;
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Vec step = hn::Set(d, static_cast<uint64_t>(lanes) * kStep);
  Vec key = hn::Mul(hn::Iota(d, place), hn::Set(d, kStep));
  Vec sum0 = hn::Zero(d), sum1 = hn::Zero(d);
  const auto add = [&](Vec& sum, const std::byte* from) HWY_ATTR {
    sum = hn::Add(sum, finalize(d, hn::Xor(load<Bits>(d, from), key)));
    key = hn::Add(key, step);
  };
  int64_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    for (int64_t line = 0; line < 2 * lanes * kSize; line += 64)
      hwy::Prefetch(values + std::min(i * kSize + line + kAhead, count * kSize - 1));
    add(sum0, values + i * kSize);
    add(sum1, values + (i + lanes) * kSize);
  }
  // Not SumOfLanes, which adds as signed numbers where the compiler's own function does.
  HWY_ALIGN uint64_t sums[hn::MaxLanes(d)];
  hn::Store(hn::Add(sum0, sum1), d, sums);
  uint64_t sum = std::accumulate(sums, sums + lanes, uint64_t{0});
  for (; i < count; ++i) {
    Bits bits = 0;
    std::memcpy(&bits, values + i * kSize, sizeof bits);
    sum += finalize(bits ^ (place + static_cast<uint64_t>(i)) * kStep);
  }
  return sum;
}

uint64_t sum_terms_32(const std::byte* values, int64_t count, uint64_t place) {
  return sum_terms<uint32_t>(values, count, place);
}
uint64_t sum_terms_64(const std::byte* values, int64_t count, uint64_t place) {
  return sum_terms<uint64_t>(values, count, place);
}

}  // namespace
}  // namespace trident::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trident {
namespace {

HWY_EXPORT(sum_terms_32);
HWY_EXPORT(sum_terms_64);

}  // namespace

uint64_t digest_of(std::span<const std::byte> values, DType dtype, const LogicalBlock& block, int64_t columns) {
  return digest_of(values, dtype, block, columns, 0, block.elements());
}

uint64_t digest_of(std::span<const std::byte> values, DType dtype, const LogicalBlock& block, int64_t columns,
                   int64_t begin, int64_t count) {
  TRIDENT_CHECK(dtype == DType::fp32 || dtype == DType::fp64);
  TRIDENT_CHECK(begin >= 0 && count >= 0 && begin + count <= block.elements());
  TRIDENT_CHECK(values.size() == static_cast<size_t>(count) * size_of(dtype));
  uint64_t sum = 0;
  const std::byte* at = values.data();
  for (const int64_t end = begin + count; begin < end;) {
    const int64_t row = begin / block.columns, column = begin % block.columns;
    // Whole rows of the tensor lie one behind the other.
    const int64_t run = block.columns == columns ? end - begin : std::min(end - begin, block.columns - column);
    const auto place = static_cast<uint64_t>((block.row0 + row) * columns + block.column0 + column);
    sum += dtype == DType::fp32 ? HWY_DYNAMIC_DISPATCH(sum_terms_32)(at, run, place)
                                : HWY_DYNAMIC_DISPATCH(sum_terms_64)(at, run, place);
    at += static_cast<size_t>(run) * size_of(dtype);
    begin += run;
  }
  return sum;
}

}  // namespace trident
#endif  // HWY_ONCE
