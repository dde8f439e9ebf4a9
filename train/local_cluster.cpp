#include "train/local_cluster.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "core/cuda_devices.h"
#include "plan/predict.h"
#include "train/config/cluster_file.h"
#include "train/config/job_plan.h"

namespace trident {
namespace {

const char* described() {
  const char* file = std::getenv("TRIDENT_CLUSTER");
  return file != nullptr && *file != '\0' ? file : nullptr;
}

double physical_memory() {
  return static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
}

}  // namespace

std::optional<plan::ClusterSpec> local_cluster(const JobConfig& job, const LaunchEnvironment& launch) {
  if (const char* file = described()) return load_cluster(file);
  if (job.device != config::Device::cpu && !cuda_device_names().empty()) return std::nullopt;
  const int here = std::max(1, launch.local_size.value_or(std::max(1, launch.size)));
  plan::ClusterSpec spec;
  spec.name = "this machine (rates assumed, see trident doctor --calibrate)";
  spec.nodes = std::max(1, launch.size / here);
  spec.accelerators_per_node = std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
  spec.shared = true;
  spec.overlap = false;
  spec.peak_fp32 = 60e9;
  spec.peak_bf16 = spec.peak_fp64 = 30e9;
  // The rest is the system's, and the page cache's.
  spec.memory = 0.75 * physical_memory() / static_cast<double>(spec.accelerators_per_node);
  spec.memory_bandwidth = 8e9;
  spec.kernel_time = 5e-6;
  spec.inside = {4e9, 1, 10e-6};
  spec.between = {1e9, 1, 50e-6};
  spec.fitted = {0.7, 0.7, 0.5};
  return spec;
}

plan::ClusterSpec places_of_ranks(const JobConfig& job, const LaunchEnvironment& launch) {
  if (const auto described = local_cluster(job, launch)) return plan::place_for_each(*described, launch.size);
  plan::ClusterSpec spec;
  spec.name = "this machine's GPUs (rates assumed)";
  spec.accelerators_per_node = std::max(1, launch.size);
  spec.peak_bf16 = 500e12;
  spec.peak_fp32 = spec.peak_fp64 = 50e12;
  spec.memory = static_cast<double>(cuda_total_memory(0));
  spec.memory_bandwidth = 2e12;
  spec.kernel_time = 4e-6;
  spec.inside = {200e9, 0.7, 3e-6};
  spec.between = {25e9, 0.9, 5e-6};
  return spec;
}

double predicted_step(const JobConfig& job) {
  const char* file = described();
  if (file == nullptr) return 0;
  return plan::predict(workload_of(job), layout_of(job), load_cluster(file)).step_s;
}

}  // namespace trident
