#pragma once

#include <vector>

namespace trident {

/// Logical shards [begin, end): a node of the tree, or the shards of one rank.
struct ShardRun {
  int begin = 0;
  int end = 0;
  [[nodiscard]] int size() const { return end - begin; }
  bool operator==(const ShardRun&) const = default;
};

/// The shards of rank `rank` of `ranks`: contiguous, sizes differing by at most one, the first ranks' larger. Empty for
/// some where there are more ranks than shards.
[[nodiscard]] ShardRun shards_of(int rank, int ranks, int shards);

/// The fixed order in which the gradients of a global batch's logical shards are summed: a binary tree over them, which
/// depends on their number alone. A node of n shards has the largest power of two below n to its left (the shape of
/// RFC 6962's hash trees), so subtrees are aligned blocks of 2^i shards, and those at the right edge.
class ReductionTree {
 public:
  /// At least one shard.
  explicit ReductionTree(int shards);

  [[nodiscard]] int shards() const { return shards_; }
  [[nodiscard]] ShardRun root() const { return {0, shards_}; }
  /// First shard of the right child; the node has at least two shards.
  [[nodiscard]] static int split(ShardRun node);

  /// The largest nodes within `run`, left to right: what a rank can sum on its own.
  [[nodiscard]] std::vector<ShardRun> subtrees(ShardRun run) const;
  /// Gradient buffers that summing `run` shard by shard needs: the subtrees finished so far and the current shard's,
  /// at most. That is ⌈log2 k⌉ + 1 or less for the first k shards, and max_buffers(k) or less for any k in a row.
  [[nodiscard]] int buffers(ShardRun run) const;
  /// 2·⌊log2(k + 1)⌋, or 1 for k = 1: subtrees of a run double in size from its left end and halve towards its right
  /// end, so that n shards make at most 2q where n < 3·2^q − 2, and 2q + 1 where n < 2^(q+2) − 2.
  [[nodiscard]] static int max_buffers(int shards);

 private:
  void collect(ShardRun node, ShardRun run, std::vector<ShardRun>& found) const;
  int shards_;
};

}  // namespace trident
