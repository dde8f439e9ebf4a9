#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"
#include "parallel/comm/communicator.h"
#include "train/node_snapshots.h"
#include "train/saved_state.h"

namespace trident {

/// A state that came out of memory.
struct RestoredState {
  SnapshotSeal seal;
  /// Ranks of its layout of whose parts there was nothing but a copy, on the node of another rank.
  std::vector<int> from_copies;
};

/// What cannot be used, and why.
using TellDamage = std::function<void(const std::string& what)>;

/// The live state of all ranks becomes the newest one of step `at_least` or later of which some node's memory holds
/// every part, whatever layout it was sealed under; nothing where there is none. `here` is this node's. Each copy is
/// compared with its hashes first, by the ranks of its node; one that is not as it was sealed is told to `damaged` on
/// rank 0 and passed over, for another node's or an older step; so is which parts are nowhere. What is loaded is proved
/// by its digests. `job` is what the job says of its checkpoints, with tensors and dtype. Collective.
[[nodiscard]] std::optional<RestoredState> restore_from_memory(const NodeSnapshots& here, const SavedState& state,
                                                               const Manifest& job, const Communicator& world,
                                                               int64_t at_least, const TellDamage& damaged);

/// What a snapshot says of itself (SnapshotIdentity::description): a manifest whose only file is a rank's buffer.
[[nodiscard]] std::string describe_snapshot(const Manifest& job, const SavedState& state, int rank);

}  // namespace trident
