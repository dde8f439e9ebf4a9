#pragma once

#include <vector>

#include "core/parameter.h"
#include "kernels/optimizer.h"

namespace trident {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
};

/// AdamW over a rank's flat parameters. Holds the moments.
class Optimizer {
 public:
  Optimizer(ParameterStorage& storage, const AdamWOptions& options);

  /// Global L2 norm of the gradients, over all parameters.
  [[nodiscard]] double gradient_norm(const Stream& stream) const;
  /// Steps all weights with gradients times `grad_scale`; `step` counts from 1.
  void step(const Stream& stream, int64_t step, double lr, double grad_scale);

  [[nodiscard]] size_t bytes() const { return exp_avg_.bytes() + exp_avg_sq_.bytes(); }

 private:
  ParameterStorage& storage_;
  AdamWOptions options_;
  std::vector<FlatRange> ranges_;
  Tensor exp_avg_, exp_avg_sq_;
};

/// The factor that brings a gradient of norm `norm` to at most `max_norm`; 1 where max_norm is 0 (no clipping).
[[nodiscard]] double clip_scale(double norm, double max_norm);

}  // namespace trident
