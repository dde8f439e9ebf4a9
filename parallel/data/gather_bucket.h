#pragma once

#include <vector>

#include "parallel/comm/communicator.h"
#include "parallel/data/flat_partition.h"

namespace trident {

/// Starts the sharing of every rank's part of a bucket of `flat`, in place.
[[nodiscard]] std::vector<Pending> gather_bucket(const Communicator& group, const FlatPartition& partition, int bucket,
                                                 const Tensor& flat);

}  // namespace trident
