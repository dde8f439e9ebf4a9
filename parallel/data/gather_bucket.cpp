#include "parallel/data/gather_bucket.h"

namespace trident {
namespace {

Tensor view(const Tensor& flat, int64_t begin, int64_t count) { return flat.flat_view(begin, {count}); }

}  // namespace

std::vector<Pending> gather_bucket(const Communicator& group, const FlatPartition& partition, int bucket,
                                   const Tensor& flat) {
  std::vector<Pending> pending;
  if (group.size() == 1) return pending;
  const int64_t begin = partition.bucket(bucket).begin, part = partition.equal_part(bucket);
  const FlatSpan rest = partition.remainder(bucket);
  if (part > 0) {
    pending.push_back(
        group.all_gather_async(view(flat, begin + group.rank() * part, part), view(flat, begin, part * group.size())));
  }
  if (rest.size() > 0) {
    pending.push_back(group.broadcast_async(view(flat, rest.begin, rest.size()), group.size() - 1));
  }
  return pending;
}

}  // namespace trident
