#pragma once

#include <array>
#include <memory>
#include <vector>

#include "parallel/data/bucket_reduction.h"
#include "parallel/data/reduction_tree.h"
#include "parallel/data/tree_sum.h"

namespace trident {

/// Sums the gradients of all logical shards in the tree's order, whatever the number of ranks: each rank lends the sums
/// of its subtrees to the owners of the parts, and the owners sum up the rest of the tree. Owners read their peers'
/// memory where they reach it, one pass and no copy (Communicator::allocate_shared); elsewhere the sums travel.
class ExactReduction final : public BucketReduction {
 public:
  /// `pieces` are this rank's flat tensors, one for each of tree.subtrees(shards_of(its rank)), the last one `grads`
  /// (ShardAccumulator::pieces). A rank without shards has none, and its part of `grads` is overwritten.
  ExactReduction(Communicator group, const ReductionTree& tree, const FlatPartition& partition,
                 std::vector<Tensor> pieces, Tensor grads);

  /// Memory for what arrives; not touched where all peers' memory is in reach.
  [[nodiscard]] size_t scratch_bytes() const;

 private:
  struct Arrivals;

  std::vector<Pending> depart(const Stream& stream, int bucket, size_t lane) override;
  /// This rank's own pieces are there from the start.
  [[nodiscard]] std::shared_ptr<Arrivals> expect(const Stream& stream, int bucket, size_t lane) const;

  /// What this rank sends of a bucket. Ranks at the ends of the group leave out their own part.
  [[nodiscard]] FlatSpan sent(int bucket) const;
  [[nodiscard]] bool sends_to_itself() const;
  [[nodiscard]] std::vector<int64_t> send_counts(int bucket, size_t round) const;
  [[nodiscard]] std::vector<int64_t> receive_counts(int bucket, size_t round) const;
  [[nodiscard]] int64_t scratch_elements(int bucket) const;

  Communicator group_;
  FlatPartition partition_;
  std::vector<Tensor> pieces_;
  Tensor grads_;
  std::vector<size_t> piece_counts_;  // of every rank
  std::vector<size_t> first_piece_;   // where a rank's begin in the order of the tree
  size_t rounds_ = 0;                 // the most pieces of any rank; round i lends every rank's piece i
  std::shared_ptr<const TreeSum> sum_;
  std::array<Tensor, kInFlight> scratch_;
};

}  // namespace trident
