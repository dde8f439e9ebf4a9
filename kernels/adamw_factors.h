#pragma once

#include <cmath>

#include "kernels/optimizer.h"

namespace trident {

/// A step's numbers as kernels use them, rounded to the type A that they compute in.
template <class A>
struct AdamWFactors {
  A grad_scale, beta1, rest1, beta2, rest2, kept_with_decay, step_size, root_scale, eps;

  explicit AdamWFactors(const AdamWStep& step)
      : grad_scale(static_cast<A>(step.grad_scale)),
        beta1(static_cast<A>(step.beta1)),
        rest1(static_cast<A>(1.0 - step.beta1)),
        beta2(static_cast<A>(step.beta2)),
        rest2(static_cast<A>(1.0 - step.beta2)),
        kept_with_decay(static_cast<A>(1.0 - step.lr * step.weight_decay)),
        step_size(static_cast<A>(step.lr / (1.0 - std::pow(step.beta1, static_cast<double>(step.step))))),
        root_scale(static_cast<A>(1.0 / std::sqrt(1.0 - std::pow(step.beta2, static_cast<double>(step.step))))),
        eps(static_cast<A>(step.eps)) {}
};

/// The flat tensors of a step. A: fp32 or fp64; T: the compute dtype.
template <class A, class T>
struct AdamWData {
  A* master;
  const A* grad;
  A* exp_avg;
  A* exp_avg_sq;
  T* compute;  ///< may be null
};

}  // namespace trident
