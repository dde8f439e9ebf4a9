#include "kernels/activation.h"

#include "kernels/cpu/activation.h"
#include "kernels/cuda/activation.h"

namespace trident {
namespace {

void check_same(const Tensor& a, const Tensor& b) {
  TRIDENT_CHECK(a.rows() == b.rows() && a.columns() == b.columns() && a.dtype() == b.dtype(),
                a.shape().to_string() + " and " + b.shape().to_string());
}

void check_halved(const Tensor& x, const Tensor& y) {
  TRIDENT_CHECK(x.rows() == y.rows() && x.columns() == 2 * y.columns() && x.dtype() == y.dtype(),
                x.shape().to_string() + " gives " + y.shape().to_string());
}

}  // namespace

void swiglu_forward(const Stream& stream, const Tensor& x, Tensor& y) {
  check_halved(x, y);
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::swiglu_forward(stream.pool(), x, y);
    case DeviceKind::cuda: return cuda::swiglu_forward(stream, x, y);
  }
}

void swiglu_backward(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dx, Tensor& y) {
  check_halved(x, dy);
  check_same(x, dx);
  if (y.defined()) check_same(dy, y);
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::swiglu_backward(stream.pool(), dy, x, dx, y);
    case DeviceKind::cuda: return cuda::swiglu_backward(stream, dy, x, dx, y);
  }
}

void gelu_forward(const Stream& stream, const Tensor& x, Tensor& y) {
  check_same(x, y);
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::gelu_forward(stream.pool(), x, y);
    case DeviceKind::cuda: return cuda::gelu_forward(stream, x, y);
  }
}

void gelu_backward(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dx, Tensor& y) {
  check_same(x, dy);
  check_same(x, dx);
  if (y.defined()) check_same(dy, y);
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::gelu_backward(stream.pool(), dy, x, dx, y);
    case DeviceKind::cuda: return cuda::gelu_backward(stream, dy, x, dx, y);
  }
}

}  // namespace trident
