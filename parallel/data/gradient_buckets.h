#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "core/parameter.h"
#include "parallel/data/bucket_reduction.h"
#include "parallel/data/reduction_tree.h"
#include "parallel/data/shard_accumulator.h"

namespace trident {

enum class ReductionKind {
  exact,  ///< the same bits for any number of ranks
  fast,   ///< the communicator's own order; changes with the number of ranks
};

/// What each group of parameters takes of flat storage, gaps to the next group included.
[[nodiscard]] std::vector<FlatSpan> spans_of(const std::vector<ParameterGroup*>& groups, int64_t elements);

/// Reduces a rank's flat gradients over the data-parallel ranks while the backward pass still runs. Every bucket waits
/// until the last gradient in it is complete, and for the buckets behind it, since backward passes end with the first
/// layers and every rank must start the buckets in the same order.
///
/// One step: gradients zeroed → backward passes over this rank's shards, shard by shard, ready() for every group after
/// every shard, progress() between layers → finish(). No other collective call on the group from the first ready() to
/// finish().
class GradientBuckets {
 public:
  /// Collective only in that all ranks of `dp` take part in the steps. `groups` cover `grads` in order.
  GradientBuckets(Communicator dp, ReductionKind kind, const ReductionTree& tree, const FlatPartition& partition,
                  std::vector<FlatSpan> groups, Tensor grads);

  /// This rank's logical shards.
  [[nodiscard]] ShardRun shards() const { return run_; }
  /// The gradients of group number `group` are complete for the next shard of this rank. They are zeroed when another
  /// shard follows.
  void ready(const Stream& stream, size_t group);
  /// Moves on what can move without waiting.
  void progress() { reduction_->progress(); }
  /// Waits until this rank's parts (FlatPartition) of the gradients hold the sums over all shards.
  void finish(const Stream& stream);
  /// After finish(): every rank's whole gradients hold the sums (ZeRO-0).
  void gather();

  /// Full gradient buffers, the model's own among them.
  [[nodiscard]] size_t buffers() const { return accumulator_ ? accumulator_->buffers() : 1; }
  /// Those that sums of earlier shards wait in.
  [[nodiscard]] std::vector<Tensor> waiting_sums() const {
    return accumulator_ ? accumulator_->slots() : std::vector<Tensor>();
  }
  /// Memory for what arrives from other ranks, where they are not in reach.
  [[nodiscard]] size_t scratch_bytes() const { return scratch_bytes_; }

 private:
  void start_ready_buckets(const Stream& stream);
  void begin_step();

  Communicator dp_;
  ShardRun run_;
  FlatPartition partition_;
  std::vector<FlatSpan> groups_;
  Tensor grads_;
  std::optional<ShardAccumulator> accumulator_;  // exact only
  std::unique_ptr<BucketReduction> reduction_;
  size_t scratch_bytes_ = 0;

  std::vector<int> next_shard_;  // of every group
  std::vector<int> missing_;     // groups that a bucket waits for
  int next_bucket_ = 0;          // counts down
};

}  // namespace trident
