#pragma once

#include "core/device.h"
#include "core/tensor.h"

namespace trident {

enum class NormKind {
  rms,    ///< x / √(mean(x²) + eps) · gain; Zhang and Sennrich, "Root mean square layer normalization" (2019)
  layer,  ///< (x − mean) / √(var + eps) · gain + bias; Ba et al., "Layer normalization" (2016)
};

struct NormWeights {
  NormKind kind = NormKind::rms;
  double eps = 1e-5;
  Tensor gain;  ///< [columns], compute dtype
  Tensor bias;  ///< [columns]; undefined for rms
};

/// y = norm(x) row by row. stats: [rows, 2], accumulation dtype: mean (0 for rms) and inverse deviation.
/// Statistics are computed in the accumulation dtype.
void norm_forward(const Stream& stream, const NormWeights& weights, const Tensor& x, Tensor& y, Tensor& stats);

/// sum = x + delta and y = norm(sum) in one pass. `sum` may be the same memory as `x` or `delta`.
void add_norm_forward(const Stream& stream, const NormWeights& weights, const Tensor& x, const Tensor& delta,
                      Tensor& sum, Tensor& y, Tensor& stats);

/// y = norm(x) again from saved statistics; the same bits as the forward pass.
void norm_recompute(const Stream& stream, const NormWeights& weights, const Tensor& x, const Tensor& stats, Tensor& y);

/// dx = dresidual + gradient through the norm of `x`; `dresidual` may be undefined (counts as zero) and may be the same
/// memory as dx, and so may dy. partials: [1 or 2, columns], accumulation dtype, overwritten with this call's gradients
/// of gain and, for layer norm, bias.
void norm_backward(const Stream& stream, const NormWeights& weights, const Tensor& dy, const Tensor& x,
                   const Tensor& stats, const Tensor& dresidual, Tensor& dx, Tensor& partials);

}  // namespace trident
