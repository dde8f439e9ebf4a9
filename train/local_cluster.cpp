#include "train/local_cluster.h"

#include <cstdlib>

#include "core/thread_pool.h"
#include "train/config/cluster_file.h"
#include "train/job_setup.h"

namespace trident {

plan::ClusterSpec local_cluster() {
  if (const char* file = std::getenv("TRIDENT_CLUSTER"); file != nullptr && *file != '\0') return load_cluster(file);
  plan::ClusterSpec spec;
  spec.name = "this machine, not measured";
  spec.shared = true;
  spec.overlap = false;
  spec.accelerators_per_node = available_cpus();
  spec.peak_fp32 = 60e9;
  spec.peak_bf16 = 30e9;
  spec.peak_fp64 = 30e9;
  spec.memory = static_cast<double>(available_memory()) / static_cast<double>(spec.accelerators_per_node);
  spec.memory_bandwidth = 8e9;
  spec.kernel_time = 5e-6;
  spec.inside = {4e9, 1, 10e-6};
  spec.between = {1e9, 1, 50e-6};
  spec.fitted = {0.7, 0.7, 0.5};
  return spec;
}

}  // namespace trident
