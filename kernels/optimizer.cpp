#include "kernels/optimizer.h"

#include "kernels/cpu/optimizer.h"
#include "kernels/dispatch.h"

namespace trident {

void adamw(const Stream& stream, const AdamWStep& step, std::span<const FlatRange> ranges, Tensor& master,
           const Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, Tensor& compute) {
  TRIDENT_CHECK(step.step >= 1);
  const int64_t count = master.elements();
  for (const Tensor* tensor : std::initializer_list<const Tensor*>{&grad, &exp_avg, &exp_avg_sq}) {
    TRIDENT_CHECK(tensor->elements() == count && tensor->dtype() == master.dtype());
  }
  TRIDENT_CHECK(!compute.defined() || compute.elements() == count);
  for (const FlatRange& range : ranges) {
    TRIDENT_CHECK(0 <= range.begin && range.begin <= range.end && range.end <= count);
  }
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::adamw(stream.pool(), step, ranges, master, grad, exp_avg, exp_avg_sq, compute);
    case DeviceKind::cuda: throw_without_cuda("adamw");
  }
}

void add_sum_of_squares(const Stream& stream, const Tensor& x, int64_t begin, int64_t end, ExactSum& sum) {
  TRIDENT_CHECK(0 <= begin && begin <= end && end <= x.elements());
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::add_sum_of_squares(stream.pool(), x, begin, end, sum);
    case DeviceKind::cuda: throw_without_cuda("add_sum_of_squares");
  }
}

}  // namespace trident
