#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace trident {

/// Names of the GPUs that CUDA shows this process; none without a driver, or in a build without CUDA.
[[nodiscard]] std::vector<std::string> cuda_device_names();

/// Whether this build has CUDA.
[[nodiscard]] bool cuda_compiled_in();
/// What no other GPU of any machine has. Throws Error(ErrorCode::config) without that GPU.
[[nodiscard]] std::string cuda_device_identity(int device);

struct DeviceMemory {
  size_t free = 0;
  size_t total = 0;
};
/// Bytes of all of a GPU's memory, found without making use of it; 0 where there is no such GPU.
[[nodiscard]] size_t cuda_total_memory(int device);
/// Bytes of a GPU's memory; nothing where there is no such GPU.
[[nodiscard]] std::optional<DeviceMemory> cuda_memory(int device);

}  // namespace trident
