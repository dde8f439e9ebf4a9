#pragma once

#include <cstdint>
#include <span>

#include "core/device.h"
#include "core/exact_sum.h"
#include "core/tensor.h"

namespace trident {

/// Elements [begin, end) of flat storage.
struct FlatRange {
  int64_t begin = 0;
  int64_t end = 0;
  bool decays = false;
};

struct AdamWStep {
  double lr = 0.0;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.0;
  double grad_scale = 1.0;  ///< gradients are multiplied by it first (clipping)
  int64_t step = 1;         ///< counts from 1, for the bias correction
};

/// One pass over flat weights: decoupled weight decay and bias-corrected moments (Loshchilov and Hutter, "Decoupled
/// weight decay regularization", 2019, algorithm 2). master, grad, exp_avg, exp_avg_sq: flat, accumulation dtype.
/// compute: flat, compute dtype, receives the rounded weights; undefined where master is what computes.
void adamw(const Stream& stream, const AdamWStep& step, std::span<const FlatRange> ranges, Tensor& master,
           const Tensor& grad, Tensor& exp_avg, Tensor& exp_avg_sq, Tensor& compute);

/// Adds Σ x² over `ranges` of flat `x` to `sum`: cells of kSquareCell elements, cut at its multiples, are summed in
/// double, and their sums without rounding. So ranges may be cut at multiples of kSquareCell, and spread over threads
/// and ranks, in any way. Waits for the result.
inline constexpr int64_t kSquareCell = 64;
void add_sums_of_squares(const Stream& stream, const Tensor& x, std::span<const FlatRange> ranges, ExactSum& sum);

}  // namespace trident
