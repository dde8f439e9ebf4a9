#include "kernels/optimizer.h"

#include "kernels/cpu/optimizer.h"
#include "kernels/cuda/optimizer.h"

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
    case DeviceKind::cuda: return cuda::adamw(stream, step, ranges, master, grad, exp_avg, exp_avg_sq, compute);
  }
}

void add_sums_of_squares(const Stream& stream, const Tensor& x, std::span<const FlatRange> ranges, ExactSum& sum) {
  for (const FlatRange& range : ranges) {
    TRIDENT_CHECK(0 <= range.begin && range.begin <= range.end && range.end <= x.elements());
  }
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu:
      for (const FlatRange& range : ranges) cpu::add_sum_of_squares(stream.pool(), x, range.begin, range.end, sum);
      return;
    case DeviceKind::cuda: return cuda::add_sums_of_squares(stream, x, ranges, sum);
  }
}

}  // namespace trident
