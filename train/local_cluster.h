#pragma once

#include "plan/cluster_spec.h"

namespace trident {

/// This machine, as `trident doctor --calibrate` measured it where TRIDENT_CLUSTER names its file, else by the
/// processor's count and rates that usual ones have. Its memory is what the system could give now.
[[nodiscard]] plan::ClusterSpec local_cluster();

}  // namespace trident
