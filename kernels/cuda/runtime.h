#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "core/device.h"
#include "core/error.h"

/// What host code that calls the CUDA runtime needs, whatever compiles it.
namespace trident::cuda {

[[nodiscard]] inline cudaStream_t queue_of(const Stream& stream) { return static_cast<cudaStream_t>(stream.handle()); }

/// Throws Error(ErrorCode::internal) for a failed call: `what` was being done.
inline void check(cudaError_t result, const char* what) {
  if (result == cudaSuccess) return;
  throw Error(ErrorCode::internal, "kernels/cuda", std::string(what) + ": " + cudaGetErrorString(result),
              "a kernel before it may have gone wrong: CUDA_LAUNCH_BLOCKING=1 names the first that did");
}

}  // namespace trident::cuda
