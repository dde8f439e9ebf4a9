#include "core/cuda_devices.h"

namespace trident {

std::vector<std::string> cuda_device_names() { return {}; }

}  // namespace trident
