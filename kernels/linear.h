#pragma once

#include "core/device.h"
#include "core/tensor.h"

namespace trident {

/// What operands are rounded to before they are multiplied.
enum class LinearPrecision {
  compute,  ///< to nothing else than they are
  fp8,      ///< activations and weights to e4m3, gradients of outputs to e5m2
};

// Matrix products. Activations and weights are of the compute dtype (fp64, fp32, bf16); products accumulate in fp64
// for fp64 and in fp32 otherwise. Gradients of parameters are of the accumulation dtype and added to; gradients of
// activations are overwritten. Leading dimensions of activations fold into rows.
//
// In fp8 every call scales each of its operands by a power of two, the largest with which its largest magnitude fits,
// and rounds it; sums, results and biases are as for bf16. Where an operand has a value that is not finite, all results
// are NaN. Needs bf16 tensors on a GPU, and rows, in and out that are multiples of kFp8Multiple; otherwise throws
// Error(ErrorCode::config).
inline constexpr int64_t kFp8Multiple = 16;

/// Throws Error(ErrorCode::config) where the stream's device does not multiply in fp8: it is no GPU, or of a generation
/// before 8.9.
void require_fp8(const Stream& stream);

/// y[rows, out] = x[rows, in] · w[out, in]ᵀ + bias[out]; `bias` may be undefined.
void linear_forward(const Stream& stream, const Tensor& x, const Tensor& w, const Tensor& bias, Tensor& y,
                    LinearPrecision precision = LinearPrecision::compute);

/// dx[rows, in] = dy[rows, out] · w[out, in].
void linear_backward_input(const Stream& stream, const Tensor& dy, const Tensor& w, Tensor& dx,
                           LinearPrecision precision = LinearPrecision::compute);

/// dw[out, in] += dy[rows, out]ᵀ · x[rows, in]; dbias[out] += column sums of dy, unless undefined.
void linear_backward_weight(const Stream& stream, const Tensor& dy, const Tensor& x, Tensor& dw, Tensor& dbias,
                            LinearPrecision precision = LinearPrecision::compute);

}  // namespace trident
