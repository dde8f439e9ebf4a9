#pragma once

#include <span>
#include <vector>

#include "parallel/comm/device_mesh.h"

namespace trident {

/// The rank on whose node a copy of each rank's snapshots is kept, by rank; `node_of` is by rank too. Every rank is the
/// partner of one other.
///
/// All partners stand the same way along the mesh's axes from their ranks (cyclically): the first way, dp before pp
/// before tp and the nearest first, under which the fewest partners are on their rank's own node, and, among those, the
/// fewest are on a node of any rank that shares a dp, tp or pp group with their rank. So where the mesh allows it a
/// copy survives the loss of all nodes of any one group of its rank.
[[nodiscard]] std::vector<int> snapshot_partners(const MeshShape& mesh, const MeshOrder& order,
                                                 std::span<const int> node_of);

}  // namespace trident
