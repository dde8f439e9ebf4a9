#pragma once

#include <string>

#include "core/error.h"

namespace trident {

/// What a kernel family's dispatch does for a device whose kernels this build does not have.
[[noreturn]] inline void throw_without_cuda(const std::string& kernel) {
  throw Error(ErrorCode::config, "kernels/" + kernel, "asked to run on a CUDA device, but built without CUDA kernels",
              "run on the CPU, or rebuild with TRIDENT_CUDA=ON");
}

}  // namespace trident
