#pragma once

#include <string>
#include <vector>

namespace trident {

/// Names of the GPUs that CUDA shows this process; none without a driver, or in a build without CUDA.
[[nodiscard]] std::vector<std::string> cuda_device_names();

}  // namespace trident
