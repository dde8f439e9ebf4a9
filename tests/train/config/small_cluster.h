#pragma once

#include "plan/cluster_spec.h"

namespace trident::config_test {

/// A node of eight accelerators.
inline plan::ClusterSpec small_cluster() {
  plan::ClusterSpec spec;
  spec.accelerators_per_node = 8;
  spec.peak_bf16 = spec.peak_fp32 = spec.peak_fp64 = 1e12;
  spec.memory = 1e10;
  spec.memory_bandwidth = 1e11;
  spec.inside = spec.between = {1e10, 1, 1e-6};
  return spec;
}

}  // namespace trident::config_test
