#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "checkpoint/snapshot.h"
#include "parallel/pipeline/timeline.h"
#include "train/step_gradients.h"

namespace trident {

/// Bytes that a rank needs, by kind.
struct MemoryEstimate {
  size_t parameters = 0;  ///< compute weights, and whole master weights where they are apart
  size_t gradients = 0;   ///< of the model, and those of logical shards that wait for others
  size_t optimizer = 0;   ///< moments, and this rank's share of the master weights
  size_t activations = 0;
  size_t communication = 0;  ///< what arrives from other data-parallel ranks
  size_t snapshots = 0;      ///< copies of the optimizer's state, for restarts and for checkpoints that are written
  /// In the memory of the device that computes; snapshots lie in the host's.
  [[nodiscard]] size_t on_device() const { return total() - snapshots; }
  [[nodiscard]] size_t total() const {
    return parameters + gradients + optimizer + activations + communication + snapshots;
  }
};

/// What one rank does in a step, found by a dry run on the meta device before anything is allocated.
struct DryRun {
  ArenaPlan training;    ///< forward and backward of all its microbatches
  ArenaPlan evaluation;  ///< forward only, of RankModel::evaluation_microbatches
  MemoryEstimate memory;
};

/// Of rank `rank` of the layout. `meta` is a meta stream; what kernels report to its attached state is the caller's.
/// `snapshot_buffers`: of the rank's snapshot memory; by default that of a job that is restarted from memory.
[[nodiscard]] DryRun dry_run(const ModelConfig& config, const EngineOptions& options, int rank, const Stream& meta,
                             int snapshot_buffers = SnapshotMemory::kBuffers);

/// Which copy of its part of a logical tensor the rank holds: 0 is the one that norms count and checkpoints keep,
/// others must be equal to it. Of the tied embedding's second copy: -1.
[[nodiscard]] int copy_number(const Parameter& parameter, const TensorParallel& tp);

/// One rank's model, gradients and optimizer, and everything that running steps through them needs. Activations live in
/// one planned piece of memory. What communicates does so over the whole mesh, in the same order on every rank.
class Engine {
 public:
  /// Collective over the mesh, which outlives the engine. Weights are undefined until initialised or loaded.
  /// `timeline` records what the steps do, where it is not null.
  Engine(const ModelConfig& config, EngineOptions options, const DeviceMesh& mesh, const DryRun& plan, Stream stream,
         pipeline::Timeline* timeline = nullptr);

  /// Told of every action before it begins.
  void set_before_action(std::function<void(const pipeline::Action&)> before_action);

  [[nodiscard]] Model& model() { return rank_.model(); }
  [[nodiscard]] const Model& model() const { return rank_.model(); }
  [[nodiscard]] const EngineOptions& options() const { return options_; }
  [[nodiscard]] const DeviceMesh& mesh() const { return mesh_; }
  [[nodiscard]] const Stream& stream() const { return stream_; }
  /// This rank's microbatches of every step.
  [[nodiscard]] BatchShare share() const { return options_.layout.share(mesh_.coordinates().dp); }
  [[nodiscard]] const pipeline::Schedule& schedule() const { return rank_.training_schedule(); }

  /// Takes over the weights as they are now. Before the first step.
  void start_optimizer(const AdamWOptions& options);

  /// Forward and backward over this rank's microbatches, gradients summed over all ranks. Collective. Returns the sum
  /// of the label tokens' losses of the whole global batch, the same on every rank and under every layout.
  double forward_backward(std::span<const Microbatch> microbatches);
  /// The losses of the last forward_backward() that this rank knows.
  [[nodiscard]] double own_loss() const { return own_loss_; }
  /// Global L2 norm of the gradients. Collective.
  [[nodiscard]] double gradient_norm() const { return optimizer_->gradient_norm(stream_); }
  /// Steps this rank's weights and starts to gather those of the others; whatever reads them waits. Collective over dp.
  void step(int64_t step, double lr, double grad_scale);
  /// Waits until all weights are those of the last step.
  void wait_parameters();
  /// Forward only over RankModel::evaluation_microbatches on every data-parallel rank. Collective over tp and pp.
  /// Returns the losses that this rank knows.
  ExactSum forward(std::span<const Microbatch> microbatches);
  /// The sum of all ranks' losses, the same on every rank however they were spread. Collective.
  [[nodiscard]] double sum_over_ranks(ExactSum losses) const;

  /// What lies in memory now, by kind, as the operating system counts: what the dry run promised. After a step.
  [[nodiscard]] MemoryEstimate resident() const;

  /// After pieces() were given other values: brings the compute weights of all ranks into line. Collective over dp.
  void refresh_compute_weights();
  /// What this rank holds of the master weights and moments.
  [[nodiscard]] std::vector<OwnedPiece> pieces() const { return optimizer_->pieces(); }

 private:
  void before_forward(pipeline::StageLayer layer);
  [[nodiscard]] pipeline::ExecutorHooks hooks();

  EngineOptions options_;
  const DeviceMesh& mesh_;
  Stream stream_;
  RankModel rank_;
  StepGradients gradients_;
  std::optional<ShardedOptimizer> optimizer_;
  std::vector<bool> current_;  // by layer: its weights are those of the last step
  pipeline::Timeline* timeline_;
  double own_loss_ = 0;
  Arena training_, evaluation_;  // share their memory: they never run at the same time
};

}  // namespace trident
