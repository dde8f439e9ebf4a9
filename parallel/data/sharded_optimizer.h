#pragma once

#include <span>
#include <utility>
#include <vector>

#include "core/parameter.h"
#include "kernels/optimizer.h"
#include "parallel/comm/communicator.h"
#include "parallel/data/flat_partition.h"

namespace trident {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
};

enum class ZeroStage {
  replicated = 0,       ///< every rank holds and steps everything; gradients must be gathered
  optimizer_state = 1,  ///< master weights and moments of its own part only; parameters are gathered
};

struct OptimizerSharding {
  Communicator dp = Communicator::self("dp");
  ZeroStage stage = ZeroStage::optimizer_state;
  FlatPartition partition;
  /// The groups besides dp whose ranks hold other parts of the model (tp, pp).
  std::vector<Communicator> model_groups;
  /// For every parameter of the storage, whether the gradient norm counts it here: a replicated one counts on one rank
  /// of the group only. Empty: all count.
  std::vector<bool> counts_here;
};

/// A part of a parameter whose optimizer state this rank holds.
struct OwnedPiece {
  const Parameter* parameter = nullptr;
  int64_t begin = 0;  ///< first element, counted within the parameter's local part
  int64_t count = 0;
  Tensor master, exp_avg, exp_avg_sq;  ///< flat views
  /// This rank reduces its gradient: such pieces of all data-parallel ranks are disjoint and cover all of their part.
  bool reduced_here = true;
};

/// AdamW over a rank's flat parameters, or over its share of them (ZeRO; Rajbhandari et al., "ZeRO: memory
/// optimizations toward training trillion parameter models", 2020). Every element sees the same arithmetic whoever
/// owns it, and the gradient norm is summed exactly, so that the sharding changes no bit.
class ShardedOptimizer {
 public:
  /// One rank: everything is its own.
  ShardedOptimizer(const Stream& stream, ParameterStorage& storage, const AdamWOptions& options);
  /// The storage has its initial weights. With separate master weights and more than one rank, stage 1 takes this
  /// rank's share of them and releases the storage's.
  ShardedOptimizer(const Stream& stream, ParameterStorage& storage, const AdamWOptions& options,
                   OptimizerSharding sharding);

  /// Global L2 norm of the reduced gradients, over all parameters and ranks. Collective over dp and the model groups.
  [[nodiscard]] double gradient_norm(const Stream& stream) const;
  /// Steps this rank's weights with gradients times `grad_scale`; `step` counts from 1. With stage 1 starts the
  /// gathering of the compute weights, which is a collective over dp.
  void step(const Stream& stream, int64_t step, double lr, double grad_scale);
  /// Waits until the compute weights in `span` are those of the last step: forward passes may wait layer by layer. No
  /// other collective call on dp before all have arrived.
  void wait_parameters(FlatSpan span);
  void wait_parameters();

  /// The moments, and the master weights where they are held here.
  [[nodiscard]] std::vector<Tensor> state() const;
  /// Memory of state().
  [[nodiscard]] size_t bytes() const;
  /// What this rank holds, in order of flat storage: for checkpoints.
  [[nodiscard]] std::vector<OwnedPiece> pieces() const;
  /// After the pieces were given other values: rounds the compute weights from them and starts to gather those of the
  /// other ranks, as step() does. Collective over dp.
  void refresh_compute_weights(const Stream& stream);

 private:
  void allocate_state(const Stream& stream);
  /// stepped_, cut so that each part is reduced here or not.
  [[nodiscard]] std::vector<std::pair<FlatSpan, bool>> held_spans() const;
  [[nodiscard]] std::vector<FlatRange> decay_ranges(FlatSpan span) const;
  /// Where `span`, within one owned span, lies in this rank's own tensors.
  [[nodiscard]] int64_t state_offset(FlatSpan span) const;
  [[nodiscard]] Tensor master_view(FlatSpan span) const;
  void step_span(const Stream& stream, const AdamWStep& arguments, FlatSpan span, std::span<const FlatRange> ranges);
  void start_gathering();

  ParameterStorage& storage_;
  AdamWOptions options_;
  OptimizerSharding sharding_;
  std::vector<FlatSpan> reduced_;               // where this rank has reduced gradients of its own
  std::vector<FlatSpan> stepped_;               // whose state it holds
  std::vector<std::vector<FlatRange>> ranges_;  // of every stepped span, counted from its start
  Tensor master_;                               // only where the storage has released its own
  Tensor exp_avg_, exp_avg_sq_;
  std::vector<std::vector<Pending>> gathering_;  // by bucket
};

}  // namespace trident
