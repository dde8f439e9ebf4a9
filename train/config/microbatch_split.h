#pragma once

#include <cstdint>

#include "parallel/tensor/tensor_parallel.h"

namespace trident {

struct JobConfig;

/// How one step's microbatches lie on the dp ranks: they are cut into logical shards, contiguous runs of at least one,
/// and every rank has a contiguous run of shards. Earlier ranks have as many as later ones or more.
struct MicrobatchSplit {
  // 1 <= dp <= shards <= microbatches
  int64_t microbatches = 1;
  int64_t shards = 1;
  int64_t dp = 1;

  [[nodiscard]] ShardRange of_shard(int shard) const;
  [[nodiscard]] ShardRange of_rank(int rank) const;
  [[nodiscard]] int64_t most() const { return of_rank(0).count; }
  [[nodiscard]] int64_t fewest() const { return of_rank(static_cast<int>(dp) - 1).count; }
};

/// Microbatches of one step: the last is smaller where micro_batch_size, which must be decided, does not divide the
/// global batch.
[[nodiscard]] int64_t step_microbatches(const JobConfig& job);

/// The fewest microbatches of a step that do for dp, logical shards and schedule: each shard has one, and with the
/// interleaved schedule each dp rank has pp. Keys that are `auto` ask for nothing.
[[nodiscard]] int64_t least_microbatches(const JobConfig& job);

}  // namespace trident
