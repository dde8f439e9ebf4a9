#include "kernels/cross_entropy.h"

#include "kernels/cpu/cross_entropy.h"
#include "kernels/dispatch.h"

namespace trident {

void cross_entropy_forward(const Stream& stream, const Tensor& logits, const Tensor& labels, Tensor& losses,
                           Tensor& lse) {
  const int64_t rows = logits.rows();
  TRIDENT_CHECK(labels.elements() == rows && losses.elements() == rows && lse.elements() == rows);
  TRIDENT_CHECK(losses.dtype() == accumulation_dtype(logits.dtype()) && lse.dtype() == losses.dtype());
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::cross_entropy_forward(stream.pool(), logits, labels, losses, lse);
    case DeviceKind::cuda: throw_without_cuda("cross_entropy_forward");
  }
}

void cross_entropy_backward(const Stream& stream, const Tensor& labels, const Tensor& lse, double weight,
                            Tensor& logits) {
  TRIDENT_CHECK(labels.elements() == logits.rows() && lse.elements() == logits.rows());
  TRIDENT_CHECK(lse.dtype() == accumulation_dtype(logits.dtype()));
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::cross_entropy_backward(stream.pool(), labels, lse, weight, logits);
    case DeviceKind::cuda: throw_without_cuda("cross_entropy_backward");
  }
}

}  // namespace trident
