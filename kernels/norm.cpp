#include "kernels/norm.h"

#include "kernels/cpu/norm.h"
#include "kernels/cuda/norm.h"

namespace trident {
namespace {

void check_same(const Tensor& a, const Tensor& b) {
  TRIDENT_CHECK(a.rows() == b.rows() && a.columns() == b.columns() && a.dtype() == b.dtype(),
                a.shape().to_string() + " and " + b.shape().to_string());
}

void check(const NormWeights& weights, const Tensor& x, const Tensor& stats) {
  TRIDENT_CHECK(weights.gain.elements() == x.columns() && weights.gain.dtype() == x.dtype());
  TRIDENT_CHECK(weights.bias.defined() == (weights.kind == NormKind::layer));
  if (weights.bias.defined()) {
    TRIDENT_CHECK(weights.bias.elements() == x.columns() && weights.bias.dtype() == x.dtype());
  }
  TRIDENT_CHECK(stats.elements() == 2 * x.rows() && stats.dtype() == accumulation_dtype(x.dtype()));
}

}  // namespace

void norm_forward(const Stream& stream, const NormWeights& weights, const Tensor& x, Tensor& y, Tensor& stats) {
  check(weights, x, stats);
  check_same(x, y);
  Tensor no_sum;
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::norm_forward(stream.pool(), weights, x, {}, no_sum, y, stats);
    case DeviceKind::cuda: return cuda::norm_forward(stream, weights, x, {}, no_sum, y, stats);
  }
}

void add_norm_forward(const Stream& stream, const NormWeights& weights, const Tensor& x, const Tensor& delta,
                      Tensor& sum, Tensor& y, Tensor& stats) {
  check(weights, x, stats);
  check_same(x, delta);
  check_same(x, sum);
  check_same(x, y);
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::norm_forward(stream.pool(), weights, x, delta, sum, y, stats);
    case DeviceKind::cuda: return cuda::norm_forward(stream, weights, x, delta, sum, y, stats);
  }
}

void norm_recompute(const Stream& stream, const NormWeights& weights, const Tensor& x, const Tensor& stats, Tensor& y) {
  check(weights, x, stats);
  check_same(x, y);
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::norm_recompute(stream.pool(), weights, x, stats, y);
    case DeviceKind::cuda: return cuda::norm_recompute(stream, weights, x, stats, y);
  }
}

void norm_backward(const Stream& stream, const NormWeights& weights, const Tensor& dy, const Tensor& x,
                   const Tensor& stats, const Tensor& dresidual, Tensor& dx, Tensor& partials) {
  check(weights, x, stats);
  check_same(x, dy);
  check_same(x, dx);
  if (dresidual.defined()) check_same(x, dresidual);
  TRIDENT_CHECK(partials.elements() == (weights.kind == NormKind::layer ? 2 : 1) * x.columns());
  TRIDENT_CHECK(partials.dtype() == stats.dtype());
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::norm_backward(stream.pool(), weights, dy, x, stats, dresidual, dx, partials);
    case DeviceKind::cuda: return cuda::norm_backward(stream, weights, dy, x, stats, dresidual, dx, partials);
  }
}

}  // namespace trident
