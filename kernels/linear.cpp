#include "kernels/linear.h"

#include "core/error.h"
#include "kernels/cpu/linear.h"
#include "kernels/cuda/linear.h"
#include "kernels/gemm_tuning.h"
#include "kernels/whole_products.h"

namespace trident {
namespace {

/// x[rows, in], w[out, in], y[rows, out] fit together.
void check_shapes(const Tensor& x, const Tensor& w, const Tensor& y) {
  TRIDENT_CHECK(x.columns() == w.columns() && y.columns() == w.rows() && x.rows() == y.rows(),
                x.shape().to_string() + " by " + w.shape().to_string() + " gives " + y.shape().to_string());
  TRIDENT_CHECK(x.dtype() == y.dtype(), "operands of different dtypes");
}

void check_vector(const Tensor& vector, int64_t elements, DType dtype) {
  if (!vector.defined()) return;
  TRIDENT_CHECK(vector.elements() == elements && vector.dtype() == dtype, "bias is " + vector.shape().to_string());
}

void record_whole(GemmRecorder& recorder, const GemmKey& key) {
  if (key.m > 0 && key.n > 0 && key.k > 0) recorder.record(key);
}

}  // namespace

void linear_forward(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y) {
  check_shapes(x, w, y);
  TRIDENT_CHECK(w.dtype() == x.dtype(), "operands of different dtypes");
  check_vector(bias, w.rows(), x.dtype());
  switch (stream.device().kind) {
    case DeviceKind::meta:
      if (auto* recorder = dynamic_cast<GemmRecorder*>(stream.state())) {
        if (recorder->target() == DeviceKind::cpu) return cpu::record_linear_forward(*recorder, x, w);
        record_whole(*recorder, forward_product(x, w, bias.defined()));
      }
      return;
    case DeviceKind::cpu: return cpu::linear_forward(stream, x, w, bias, y);
    case DeviceKind::cuda: return cuda::linear_forward(stream, x, w, bias, y);
  }
}

void linear_backward_input(const Stream& stream, const Tensor& dy, const Tensor& w, Tensor& dx) {
  check_shapes(dx, w, dy);
  TRIDENT_CHECK(w.dtype() == dy.dtype(), "operands of different dtypes");
  switch (stream.device().kind) {
    case DeviceKind::meta:
      if (auto* recorder = dynamic_cast<GemmRecorder*>(stream.state())) {
        if (recorder->target() == DeviceKind::cpu) return cpu::record_linear_backward_input(*recorder, dy, w);
        record_whole(*recorder, backward_input_product(dy, w));
      }
      return;
    case DeviceKind::cpu: return cpu::linear_backward_input(stream, dy, w, dx);
    case DeviceKind::cuda: return cuda::linear_backward_input(stream, dy, w, dx);
  }
}

void linear_backward_weight(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dw, Tensor& dbias) {
  check_shapes(x, dw, dy);
  TRIDENT_CHECK(dw.dtype() == accumulation_dtype(dy.dtype()), "gradients are of the accumulation dtype");
  check_vector(dbias, dw.rows(), dw.dtype());
  switch (stream.device().kind) {
    case DeviceKind::meta:
      if (auto* recorder = dynamic_cast<GemmRecorder*>(stream.state())) {
        if (recorder->target() == DeviceKind::cpu) return cpu::record_linear_backward_weight(*recorder, dy, x);
        record_whole(*recorder, backward_weight_product(dy, x));
      }
      return;
    case DeviceKind::cpu: return cpu::linear_backward_weight(stream, dy, x, dw, dbias);
    case DeviceKind::cuda: return cuda::linear_backward_weight(stream, dy, x, dw, dbias);
  }
}

}  // namespace trident
