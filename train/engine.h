#pragma once

#include "model/model.h"

namespace trident {

/// Sizes and numerics of one rank's microbatches.
struct EngineOptions {
  DType compute = DType::fp32;
  Recompute recompute = Recompute::none;
  int64_t micro_batch_size = 1;
  int64_t sequence_length = 0;
};

/// Bytes that a rank needs, by kind.
struct MemoryEstimate {
  size_t parameters = 0;  ///< compute weights, and the master weights where they are apart
  size_t gradients = 0;
  size_t optimizer = 0;
  size_t activations = 0;
  [[nodiscard]] size_t total() const { return parameters + gradients + optimizer + activations; }
};

/// What one microbatch does, found by a dry run on the meta device before anything is allocated.
struct DryRun {
  ArenaPlan training;    ///< forward and backward
  ArenaPlan evaluation;  ///< forward only
  MemoryEstimate memory;
};

/// `meta` is a meta stream; what kernels report to its attached state is the caller's.
[[nodiscard]] DryRun dry_run(const ModelConfig& config, const EngineOptions& options, const Stream& meta);

/// A model with everything that running microbatches through it needs. Activations live in one planned piece of
/// memory.
class Engine {
 public:
  Engine(const ModelConfig& config, const EngineOptions& options, const DryRun& plan, const Stream& stream);

  /// Forward and backward; adds to the gradients. Returns the sum of the label tokens' losses.
  double forward_backward(const Microbatch& microbatch);
  /// Forward only; the sum of losses.
  double forward(const Microbatch& microbatch);

  [[nodiscard]] Model& model() { return model_; }
  [[nodiscard]] const Stream& stream() const { return stream_; }

 private:
  Stream stream_;
  Model model_;
  Arena training_, evaluation_;  // share their memory: they never run at the same time
};

}  // namespace trident
