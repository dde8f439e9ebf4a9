#include "parallel/comm/reduce.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "parallel/comm/reduce.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trident::comm::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;
namespace simd = trident::cpu::HWY_NAMESPACE;

/// What sums of T are kept in.
template <class T>
using Sum = std::conditional_t<std::is_same_v<T, bfloat16>, float, T>;

template <class T, class N, class Combine>
HWY_INLINE void reduce_vector(const T* const* sources, size_t source_count, T* const* outs, size_t out_count, int64_t i,
                              N n, const Combine& combine) {
  const hn::ScalableTag<Sum<T>> d;
  auto total = simd::load(d, sources[0] + i, n);
  for (size_t s = 1; s < source_count; ++s) total = combine(total, simd::load(d, sources[s] + i, n));
  for (size_t o = 0; o < out_count; ++o) simd::store(total, d, outs[o] + i, n);
}

template <class T, class Combine>
HWY_INLINE void reduce_typed(std::span<const std::byte* const> sources, int64_t count, std::span<std::byte* const> outs,
                             const Combine& combine) {
  const auto* from = reinterpret_cast<const T* const*>(sources.data());
  auto* to = reinterpret_cast<T* const*>(outs.data());
  const hn::ScalableTag<Sum<T>> d;
  simd::for_vectors(d, count, [&](int64_t i, auto n) HWY_ATTR {
    reduce_vector<T>(from, sources.size(), to, outs.size(), i, n, combine);
  });
}

template <class T>
void reduce_as(ReduceOp op, std::span<const std::byte* const> sources, int64_t count,
               std::span<std::byte* const> outs) {
  if (op == ReduceOp::sum) {
    reduce_typed<T>(sources, count, outs, [](auto a, auto b) HWY_ATTR { return hn::Add(a, b); });
  } else {
    reduce_typed<T>(sources, count, outs, [](auto a, auto b) HWY_ATTR { return hn::Max(a, b); });
  }
}

void reduce(ReduceOp op, Element element, std::span<const std::byte* const> sources, int64_t count,
            std::span<std::byte* const> outs) {
  switch (element) {
    case Element::fp64: return reduce_as<double>(op, sources, count, outs);
    case Element::fp32: return reduce_as<float>(op, sources, count, outs);
    case Element::bf16: return reduce_as<bfloat16>(op, sources, count, outs);
    case Element::int32: return reduce_as<int32_t>(op, sources, count, outs);
    case Element::int64: return reduce_as<int64_t>(op, sources, count, outs);
  }
}

template <class T>
void add_pairs_as(const std::byte* const* sources, int64_t count, std::byte* out) {
  const auto* from = reinterpret_cast<const T* const*>(sources);
  const hn::ScalableTag<Sum<T>> d;
  simd::for_vectors(d, count, [&](int64_t i, auto n) HWY_ATTR {
    const auto left = hn::Add(simd::load(d, from[0] + i, n), simd::load(d, from[1] + i, n));
    const auto right = hn::Add(simd::load(d, from[2] + i, n), simd::load(d, from[3] + i, n));
    simd::store(hn::Add(left, right), d, reinterpret_cast<T*>(out) + i, n);
  });
}

void add_pairs(Element element, const std::byte* const* sources, int64_t count, std::byte* out) {
  switch (element) {
    case Element::fp64: return add_pairs_as<double>(sources, count, out);
    case Element::fp32: return add_pairs_as<float>(sources, count, out);
    case Element::bf16: return add_pairs_as<bfloat16>(sources, count, out);
    case Element::int32: return add_pairs_as<int32_t>(sources, count, out);
    case Element::int64: return add_pairs_as<int64_t>(sources, count, out);
  }
}

}  // namespace trident::comm::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trident {
namespace comm {

HWY_EXPORT(reduce);
HWY_EXPORT(add_pairs);

/// For the best instruction set of this processor.
static void dispatch(ReduceOp op, Element element, std::span<const std::byte* const> sources, int64_t count,
                     std::span<std::byte* const> outs) {
  HWY_DYNAMIC_DISPATCH(reduce)(op, element, sources, count, outs);
}

static void dispatch_pairs(Element element, const std::byte* const* sources, int64_t count, std::byte* out) {
  HWY_DYNAMIC_DISPATCH(add_pairs)(element, sources, count, out);
}

}  // namespace comm

void reduce_in_order(ReduceOp op, Element element, std::span<const std::byte* const> sources, int64_t count,
                     std::span<std::byte* const> outs) {
  if (count > 0) comm::dispatch(op, element, sources, count, outs);
}

void add_pairs(Element element, std::span<const std::byte* const, 4> sources, int64_t count, std::byte* out) {
  if (count > 0) comm::dispatch_pairs(element, sources.data(), count, out);
}

}  // namespace trident
#endif
