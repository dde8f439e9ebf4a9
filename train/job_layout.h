#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "model/model.h"
#include "parallel/comm/device_mesh.h"
#include "parallel/data/gradient_buckets.h"
#include "parallel/data/sharded_optimizer.h"
#include "parallel/pipeline/schedule.h"

namespace trident {

/// A data-parallel rank's part of every global batch.
struct BatchShare {
  int64_t first_microbatch = 0;
  int64_t microbatches = 0;
  /// For each of the rank's logical shards the number of its last microbatch, counted from first_microbatch.
  std::vector<int32_t> shard_ends;
};

/// How a model and its batches lie on the ranks of a job: pure functions of the job's keys. The default is one rank
/// with one microbatch.
struct JobLayout {
  MeshShape mesh;
  MeshOrder order = kDefaultMeshOrder;
  pipeline::ScheduleRequest schedule{"1f1b"};  ///< name and virtual stages; the rest follows from the layout
  std::vector<int32_t> layers_per_stage;       ///< of every stage, in order; empty for one stage
  bool sequence_parallel = false;
  ZeroStage zero_stage = ZeroStage::optimizer_state;
  ReductionKind reduction = ReductionKind::exact;
  int logical_shards = 1;
  int64_t microbatches = 1;  ///< of the global batch

  /// The microbatches of the logical shards that `dp_rank` owns.
  [[nodiscard]] BatchShare share(int dp_rank) const;
  /// Lowered, for one step of `dp_rank`.
  [[nodiscard]] pipeline::Schedule training_schedule(int dp_rank, bool tied_embedding) const;
  /// Lowered, forwards of `count` microbatches only.
  [[nodiscard]] pipeline::Schedule evaluation_schedule(int32_t count) const;
  /// The layers of `stage`, embedding and head included.
  [[nodiscard]] LayerRange layers_of(const ModelConfig& model, int32_t stage) const;
};

/// Layers per stage: the user's, or else cut so that the dearest stage costs the least. Costs are forward FLOPs; the
/// head counts, the embedding's look-ups do not.
[[nodiscard]] std::vector<int32_t> cut_by_cost(const ModelConfig& model, int64_t sequence_length, int32_t stages);

}  // namespace trident
