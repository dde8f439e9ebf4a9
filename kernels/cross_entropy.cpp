#include "kernels/cross_entropy.h"

#include "kernels/cpu/cross_entropy.h"
#include "kernels/cuda/cross_entropy.h"

namespace trident {

void cross_entropy_statistics(const Stream& stream, const Tensor& logits, const Tensor& labels, int64_t first_column,
                              Tensor& statistics) {
  TRIDENT_CHECK(labels.elements() == logits.rows() && first_column >= 0);
  TRIDENT_CHECK(statistics.rows() == logits.rows() && statistics.columns() == 3);
  TRIDENT_CHECK(statistics.dtype() == accumulation_dtype(logits.dtype()));
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::cross_entropy_statistics(stream.pool(), logits, labels, first_column, statistics);
    case DeviceKind::cuda: return cuda::cross_entropy_statistics(stream, logits, labels, first_column, statistics);
  }
}

void cross_entropy_losses(const Stream& stream, const Tensor& statistics, const Tensor& labels, int64_t vocabulary,
                          Tensor& losses, Tensor& lse) {
  const int64_t rows = labels.elements();
  TRIDENT_CHECK(statistics.columns() == 3 && rows > 0 && statistics.rows() % rows == 0);
  TRIDENT_CHECK(losses.elements() == rows && lse.elements() == rows);
  TRIDENT_CHECK(losses.dtype() == statistics.dtype() && lse.dtype() == statistics.dtype());
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::cross_entropy_losses(statistics, labels, vocabulary, losses, lse);
    case DeviceKind::cuda: return cuda::cross_entropy_losses(stream, statistics, labels, vocabulary, losses, lse);
  }
}

void sum_losses(const Stream& stream, const Tensor& losses, Tensor& sum) {
  TRIDENT_CHECK(sum.elements() == 1 && sum.dtype() == DType::fp64);
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::sum_losses(losses, sum);
    case DeviceKind::cuda: return cuda::sum_losses(stream, losses, sum);
  }
}

void cross_entropy_backward(const Stream& stream, const Tensor& labels, int64_t first_column, const Tensor& lse,
                            double weight, Tensor& logits) {
  TRIDENT_CHECK(labels.elements() == logits.rows() && lse.elements() == logits.rows() && first_column >= 0);
  TRIDENT_CHECK(lse.dtype() == accumulation_dtype(logits.dtype()));
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::cross_entropy_backward(stream.pool(), labels, first_column, lse, weight, logits);
    case DeviceKind::cuda: return cuda::cross_entropy_backward(stream, labels, first_column, lse, weight, logits);
  }
}

}  // namespace trident
