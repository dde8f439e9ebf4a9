#pragma once

#include <vector>

#include "parallel/data/gradient_buckets.h"
#include "train/rank_model.h"

namespace trident {

/// Follows a step's weight gradients from the layers to the sums over all ranks: completes what tensor-parallel ranks
/// hold in parts, adds the two ends of a tied embedding, and hands each group to the buckets once a logical shard's
/// last microbatch is in, so that the reduction over dp runs while earlier layers still compute.
class StepGradients {
 public:
  /// Collective over the mesh. All arguments but `options` outlive it.
  StepGradients(RankModel& rank, const EngineOptions& options, const DeviceMesh& mesh, Stream stream);

  /// Before a step's first microbatch: zeroes all gradients.
  void begin();
  /// What the executor calls.
  void weight_gradients_added(pipeline::StageLayer layer, int32_t microbatch);
  void reduce_tied();
  /// After the step's last microbatch: this rank's part of the gradients, or with ZeRO-0 all of them, are the sums.
  void finish();

  [[nodiscard]] const FlatPartition& partition() const { return partition_; }
  /// What gradients take: the model's own, and those that wait for other shards or another stage.
  [[nodiscard]] size_t gradient_bytes() const;
  /// Where they lie. Of a tied embedding's rows only those that were touched take memory.
  [[nodiscard]] std::vector<Tensor> memory() const;
  /// Memory for what arrives from other ranks.
  [[nodiscard]] size_t scratch_bytes() const { return buckets_.scratch_bytes(); }

 private:
  [[nodiscard]] Tensor table_gradient() const;
  void complete_group(size_t group);
  void tied_end_done(bool embedding, size_t shard);
  [[nodiscard]] size_t touched_bytes() const;

  RankModel& rank_;
  Stream stream_;
  bool gathers_;               // ZeRO-0
  int64_t microbatch_tokens_;  // of a microbatch
  BatchShare share_;
  FlatPartition partition_;
  GradientBuckets buckets_;
  Communicator ends_ = Communicator::self("tied");  // the pipeline's first and last rank, on these
  std::vector<size_t> next_shard_;                  // of every layer
  // With several shards a rank may start on the next while the other end has not finished: one table for each waits.
  std::vector<Tensor> waiting_;
};

}  // namespace trident
