#include "kernels/cpu/optimizer.h"

#include <vector>

#include "kernels/adamw_factors.h"
#include "kernels/cpu/blocks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace trident::cpu::HWY_NAMESPACE {

template <bool kCompute, class A, class T>
void adamw_range(const AdamWStep& step, const FlatRange& range, const AdamWData<A, T>& data) {
  const hn::ScalableTag<A> d;
  const AdamWFactors<A> factors(step);
  const auto set = [&](A value) HWY_ATTR { return hn::Set(d, value); };
  const auto grad_scale = set(factors.grad_scale);
  const auto beta1 = set(factors.beta1), rest1 = set(factors.rest1);
  const auto beta2 = set(factors.beta2), rest2 = set(factors.rest2);
  const auto keep = set(range.decays ? factors.kept_with_decay : A(1));
  const auto step_size = set(factors.step_size), root_scale = set(factors.root_scale), eps = set(factors.eps);
  for_vectors(d, range.end - range.begin, [&](int64_t offset, auto n) HWY_ATTR {
    const int64_t i = range.begin + offset;
    const auto g = hn::Mul(load(d, data.grad + i, n), grad_scale);
    const auto m = hn::MulAdd(beta1, load(d, data.exp_avg + i, n), hn::Mul(rest1, g));
    const auto v = hn::MulAdd(beta2, load(d, data.exp_avg_sq + i, n), hn::Mul(rest2, hn::Mul(g, g)));
    const auto root = hn::MulAdd(hn::Sqrt(v), root_scale, eps);
    const auto kept = hn::Mul(load(d, data.master + i, n), keep);
    const auto w = hn::NegMulAdd(step_size, hn::Div(m, root), kept);
    store(m, d, data.exp_avg + i, n);
    store(v, d, data.exp_avg_sq + i, n);
    store(w, d, data.master + i, n);
    if constexpr (kCompute && std::is_same_v<Accumulator<T>, A>) store(w, d, data.compute + i, n);
  });
}

void adamw(ThreadPool& pool, const AdamWStep& step, std::span<const FlatRange> pieces, Tensor& master,
           const Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, Tensor& compute) {
  with_float_type(compute.defined() ? compute.dtype() : master.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    using A = Accumulator<T>;
    const AdamWData<A, T> data{master.data<A>(), grad.data<A>(), exp_avg.data<A>(), exp_avg_sq.data<A>(),
                               compute.defined() ? compute.data<T>() : nullptr};
    const auto run = compute.defined() ? adamw_range<true, A, T> : adamw_range<false, A, T>;
    for_blocks(pool, static_cast<int64_t>(pieces.size()), 1,
               [&](int64_t piece, int64_t) { run(step, pieces[static_cast<size_t>(piece)], data); });
  });
}

/// Σ x² of one cell, in double.
template <class T>
double cell_sum_of_squares(const T* x, int64_t count) {
  const hn::ScalableTag<double> d;
  const hn::Rebind<Accumulator<T>, decltype(d)> narrow;
  const auto square_into = [&](auto sum, int64_t i, auto n) HWY_ATTR {
    auto value = [&]() HWY_ATTR {
      if constexpr (std::is_same_v<T, double>) {
        return load(d, x + i, n);
      } else {
        return hn::PromoteTo(d, load(narrow, x + i, n));
      }
    }();
    return hn::MulAdd(value, value, sum);
  };
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  auto sum0 = hn::Zero(d), sum1 = hn::Zero(d), sum2 = hn::Zero(d), sum3 = hn::Zero(d);
  int64_t i = 0;
  for (; i + 4 * lanes <= count; i += 4 * lanes) {
    sum0 = square_into(sum0, i, Whole{});
    sum1 = square_into(sum1, i + lanes, Whole{});
    sum2 = square_into(sum2, i + 2 * lanes, Whole{});
    sum3 = square_into(sum3, i + 3 * lanes, Whole{});
  }
  for (; i + lanes <= count; i += lanes) sum0 = square_into(sum0, i, Whole{});
  if (i < count) sum1 = square_into(sum1, i, count - i);
  return sum_of_lanes(d, hn::Add(hn::Add(sum0, sum1), hn::Add(sum2, sum3)));
}

template <class T>
void add_cells(const T* x, int64_t begin, int64_t end, ExactSum& sum) {
  while (begin < end) {
    const int64_t next = std::min(end, (begin / kSquareCell + 1) * kSquareCell);
    sum.add(cell_sum_of_squares(x + begin, next - begin));
    begin = next;
  }
}

void add_sum_of_squares(ThreadPool& pool, const Tensor& x, int64_t begin, int64_t end, ExactSum& sum) {
  constexpr int64_t kBlock = int64_t{1} << 16;
  const int64_t first = begin / kBlock * kBlock;
  std::vector<ExactSum> sums(static_cast<size_t>(block_count(end - first, kBlock)));
  with_float_type(x.dtype(), [&](auto zero) HWY_ATTR {
    using T = decltype(zero);
    const T* data = x.data<T>();
    for_blocks(pool, end - first, kBlock, [&](int64_t from, int64_t to) HWY_ATTR {
      add_cells(data, std::max(begin, first + from), first + to, sums[static_cast<size_t>(from / kBlock)]);
    });
  });
  for (const ExactSum& part : sums) sum.add(part);
}

}  // namespace trident::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace trident::cpu {

HWY_EXPORT(adamw);
HWY_EXPORT(add_sum_of_squares);

namespace {

/// Ranges cut into pieces of work: a model has one large range (its embedding) and many small ones.
std::vector<FlatRange> cut(std::span<const FlatRange> ranges) {
  constexpr int64_t kPiece = int64_t{1} << 15;
  std::vector<FlatRange> pieces;
  for (const FlatRange& range : ranges) {
    for (int64_t begin = range.begin; begin < range.end; begin += kPiece) {
      pieces.push_back({begin, std::min(range.end, begin + kPiece), range.decays});
    }
  }
  return pieces;
}

}  // namespace

void adamw(ThreadPool& pool, const AdamWStep& step, std::span<const FlatRange> ranges, Tensor& master,
           const Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, Tensor& compute) {
  HWY_DYNAMIC_DISPATCH(adamw)(pool, step, cut(ranges), master, grad, exp_avg, exp_avg_sq, compute);
}

void add_sum_of_squares(ThreadPool& pool, const Tensor& x, int64_t begin, int64_t end, ExactSum& sum) {
  HWY_DYNAMIC_DISPATCH(add_sum_of_squares)(pool, x, begin, end, sum);
}

}  // namespace trident::cpu
#endif  // HWY_ONCE
