#pragma once

#include <vector>

#include "core/device.h"
#include "core/tensor.h"
#include "parallel/data/flat_partition.h"
#include "parallel/data/reduction_tree.h"

namespace trident {

/// One rank's part of the reduction tree. Backward passes add the microbatches of one shard, in order, to `grads`;
/// between shards the finished sum moves to a buffer here and joins its siblings, like the carry of a binary counter.
/// After the last shard `pieces()` are the sums of this rank's subtrees. A rank of one shard has no buffer but `grads`,
/// and nothing is moved.
///
/// Ranges of the flat space go through this one by one, each at its own pace: a pipeline finishes its last stage's
/// weight gradients of a shard before those of its first stage.
class ShardAccumulator {
 public:
  /// `grads` is flat, zero before the first shard.
  ShardAccumulator(const ReductionTree& tree, ShardRun run, Tensor grads);

  /// The gradients in `range` hold the sum of `shard`, which follows the one before it in the run. Zeroes them, except
  /// after the last one of the run.
  void finish_shard(const Stream& stream, FlatSpan range, int shard);

  /// The nodes that this rank sums, and the flat tensors that hold them at the end.
  [[nodiscard]] const std::vector<ShardRun>& nodes() const { return nodes_; }
  [[nodiscard]] const std::vector<Tensor>& pieces() const { return pieces_; }
  /// Gradient buffers, `grads` among them.
  [[nodiscard]] size_t buffers() const { return slots_.size() + 1; }
  /// All but `grads`.
  [[nodiscard]] const std::vector<Tensor>& slots() const { return slots_; }

 private:
  ReductionTree tree_;
  ShardRun run_;
  Tensor grads_;
  std::vector<Tensor> slots_;  // slot i holds the i-th finished subtree
  std::vector<ShardRun> nodes_;
  std::vector<Tensor> pieces_;
};

}  // namespace trident
