#include "parallel/data/exact_sums.h"

namespace trident {

void all_reduce(const Communicator& group, ExactSum& sum) {
  if (group.size() > 1) group.all_reduce(std::span<int64_t>(sum.words()));
}

}  // namespace trident
