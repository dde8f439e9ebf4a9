#include "kernels/linear.h"

#include <fmt/format.h>

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

/// What fp8 products need of the product x[rows, in], w[out, in].
void check_precision(const Stream& stream, LinearPrecision precision, const Tensor& x, const Tensor& w) {
  if (precision == LinearPrecision::compute) return;
  require_fp8(stream);
  TRIDENT_CHECK(x.dtype() == DType::bf16, "fp8 products of tensors other than bf16");
  if (x.rows() % kFp8Multiple == 0 && x.columns() % kFp8Multiple == 0 && w.rows() % kFp8Multiple == 0) return;
  throw Error(ErrorCode::config, "kernels/linear",
              fmt::format("fp8 products need multiples of {}, not {} rows of {} columns by a weight {}", kFp8Multiple,
                          x.rows(), x.columns(), w.shape().to_string()),
              "change the sizes, or multiply in bf16");
}

void record_whole(GemmRecorder& recorder, const GemmKey& key) {
  if (key.m > 0 && key.n > 0 && key.k > 0) recorder.record(key);
}

}  // namespace

void require_fp8(const Stream& stream) {
  switch (stream.device().kind) {
    case DeviceKind::meta: return;
    case DeviceKind::cpu:
      throw Error(ErrorCode::config, "kernels/linear",
                  "fp8 products run on GPUs only, not on " + to_string(stream.device()),
                  "set precision.fp8: false, or device: cuda");
    case DeviceKind::cuda: return cuda::require_fp8(stream);
  }
}

void linear_forward(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y,
                    LinearPrecision precision) {
  check_shapes(x, w, y);
  TRIDENT_CHECK(w.dtype() == x.dtype(), "operands of different dtypes");
  check_vector(bias, w.rows(), x.dtype());
  check_precision(stream, precision, x, w);
  switch (stream.device().kind) {
    case DeviceKind::meta:
      if (auto* recorder = dynamic_cast<GemmRecorder*>(stream.state())) {
        if (recorder->target() == DeviceKind::cpu) return cpu::record_linear_forward(*recorder, x, w);
        record_whole(*recorder, forward_product(x, w, bias.defined(), precision));
      }
      return;
    case DeviceKind::cpu: return cpu::linear_forward(stream, x, w, bias, y);
    case DeviceKind::cuda: return cuda::linear_forward(stream, x, w, bias, y, precision);
  }
}

void linear_backward_input(const Stream& stream, const Tensor& dy, const Tensor& w, Tensor& dx,
                           LinearPrecision precision) {
  check_shapes(dx, w, dy);
  TRIDENT_CHECK(w.dtype() == dy.dtype(), "operands of different dtypes");
  check_precision(stream, precision, dx, w);
  switch (stream.device().kind) {
    case DeviceKind::meta:
      if (auto* recorder = dynamic_cast<GemmRecorder*>(stream.state())) {
        if (recorder->target() == DeviceKind::cpu) return cpu::record_linear_backward_input(*recorder, dy, w);
        record_whole(*recorder, backward_input_product(dy, w, precision));
      }
      return;
    case DeviceKind::cpu: return cpu::linear_backward_input(stream, dy, w, dx);
    case DeviceKind::cuda: return cuda::linear_backward_input(stream, dy, w, dx, precision);
  }
}

void linear_backward_weight(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dw, Tensor& dbias,
                            LinearPrecision precision) {
  check_shapes(x, dw, dy);
  TRIDENT_CHECK(dw.dtype() == accumulation_dtype(dy.dtype()), "gradients are of the accumulation dtype");
  check_vector(dbias, dw.rows(), dw.dtype());
  check_precision(stream, precision, x, dw);
  switch (stream.device().kind) {
    case DeviceKind::meta:
      if (auto* recorder = dynamic_cast<GemmRecorder*>(stream.state())) {
        if (recorder->target() == DeviceKind::cpu) return cpu::record_linear_backward_weight(*recorder, dy, x);
        record_whole(*recorder, backward_weight_product(dy, x, precision));
      }
      return;
    case DeviceKind::cpu: return cpu::linear_backward_weight(stream, dy, x, dw, dbias);
    case DeviceKind::cuda: return cuda::linear_backward_weight(stream, dy, x, dw, dbias, precision);
  }
}

}  // namespace trident
