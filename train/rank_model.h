#pragma once

#include <optional>

#include "core/exact_sum.h"
#include "parallel/pipeline/executor.h"
#include "train/job_layout.h"

namespace trident {

/// Sizes and numerics of microbatches, and how model and batches lie on the ranks.
struct EngineOptions {
  DType compute = DType::fp32;
  Recompute recompute = Recompute::none;
  int64_t micro_batch_size = 1;
  int64_t sequence_length = 0;
  JobLayout layout;
  LinearPrecision linear = LinearPrecision::compute;  ///< of the blocks' products
};

/// One rank's part of the model, and the schedules that take microbatches through it. Runs on the meta device too, in a
/// mesh on paper: that is how memory is planned.
class RankModel {
 public:
  /// Collective over the mesh. The mesh outlives it.
  RankModel(const ModelConfig& config, const EngineOptions& options, const DeviceMesh& mesh, Stream stream);

  [[nodiscard]] Model& model() { return *model_; }
  [[nodiscard]] const Model& model() const { return *model_; }
  /// The number among model().layers() of a stage's layer.
  [[nodiscard]] size_t layer_number(pipeline::StageLayer layer) const;
  /// The pipeline has several stages, and embedding and tied head are not on the same one.
  [[nodiscard]] bool sums_tied_ends() const { return tied_ && training_schedule_.stages() > 1; }
  [[nodiscard]] const pipeline::Schedule& training_schedule() const { return training_schedule_; }

  /// `hooks` of training; evaluation takes before_forward and before_action of them.
  void set_hooks(const pipeline::ExecutorHooks& hooks);

  /// Microbatches that one evaluate() takes: enough for the pipeline to fill.
  [[nodiscard]] static int32_t evaluation_microbatches(const JobLayout& layout);
  /// Forward and backward passes of one step: gradients are added to the storage's. Collective over pp and tp. Returns
  /// the sums of the label tokens' losses on the rank of the last stage, zero elsewhere.
  [[nodiscard]] ExactSum train(Allocator& activations, std::span<const Microbatch> microbatches);
  /// Forward passes only.
  [[nodiscard]] ExactSum evaluate(Allocator& activations, std::span<const Microbatch> microbatches);

 private:
  [[nodiscard]] pipeline::Executor make_executor(const pipeline::Schedule& schedule,
                                                 const EngineOptions& options) const;

  Stream stream_;
  Communicator pp_;
  bool tied_ = false;
  pipeline::Schedule training_schedule_;
  std::vector<int32_t> stages_;  // this rank's
  std::optional<Model> model_;
  std::optional<pipeline::Executor> training_, evaluation_;
};

}  // namespace trident
