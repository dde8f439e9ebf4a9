#include "kernels/elementwise.h"

#include "kernels/cpu/elementwise.h"
#include "kernels/cuda/elementwise.h"

namespace trident {

void add(const Stream& stream, const Tensor& a, const Tensor& b, Tensor& out) {
  TRIDENT_CHECK(a.elements() == b.elements() && a.elements() == out.elements());
  TRIDENT_CHECK(a.dtype() == b.dtype() && a.dtype() == out.dtype());
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::add(stream.pool(), a, b, out);
    case DeviceKind::cuda: return cuda::add(stream, a, b, out);
  }
}

void accumulate(const Stream& stream, const Tensor& x, Tensor& accumulator) {
  add(stream, accumulator, x, accumulator);
}

void cast(const Stream& stream, const Tensor& from, Tensor& to) {
  TRIDENT_CHECK(from.elements() == to.elements());
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu: return cpu::cast(stream.pool(), from, to);
    case DeviceKind::cuda: return cuda::cast(stream, from, to);
  }
}

}  // namespace trident
