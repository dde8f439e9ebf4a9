#pragma once

#include "parallel/data/bucket_reduction.h"

namespace trident {

/// Sums gradients as the communicator's reduce_scatter does: the result depends on the number of ranks.
class FastReduction final : public BucketReduction {
 public:
  FastReduction(Communicator group, const FlatPartition& partition, Tensor grads);

 private:
  std::vector<Pending> depart(const Stream& stream, int bucket, size_t lane) override;

  Communicator group_;
  FlatPartition partition_;
  Tensor grads_;
};

}  // namespace trident
