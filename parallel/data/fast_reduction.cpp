#include "parallel/data/fast_reduction.h"

namespace trident {
namespace {

Tensor view(const Tensor& flat, int64_t begin, int64_t count) { return flat.flat_view(begin, {count}); }

}  // namespace

FastReduction::FastReduction(Communicator group, const FlatPartition& partition, Tensor grads)
    : group_(std::move(group)), partition_(partition), grads_(std::move(grads)) {
  TRIDENT_CHECK(partition_.ranks() == group_.size() && partition_.elements() == grads_.elements());
}

std::vector<Pending> FastReduction::depart(const Stream& /*stream*/, int bucket, size_t /*lane*/) {
  std::vector<Pending> pending;
  if (group_.size() == 1) return pending;
  const int64_t begin = partition_.bucket(bucket).begin, part = partition_.equal_part(bucket);
  const FlatSpan rest = partition_.remainder(bucket);
  if (part > 0) {
    pending.push_back(group_.reduce_scatter_async(view(grads_, begin, part * group_.size()),
                                                  view(grads_, begin + group_.rank() * part, part)));
  }
  if (rest.size() > 0) pending.push_back(group_.all_reduce_async(view(grads_, rest.begin, rest.size())));
  return pending;
}

}  // namespace trident
