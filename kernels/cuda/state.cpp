#include "kernels/cuda/state.h"

#include <cuda_runtime_api.h>

#include <algorithm>

#include "core/error.h"
#include "core/memory.h"

namespace trident::cuda {

CudaState::CudaState(Device device) : device_(device), workspace_(allocate_memory(device, kWorkspaceBytes)) {
  const cublasStatus_t result = cublasLtCreate(&blas_);
  if (result != CUBLAS_STATUS_SUCCESS)
    throw Error(ErrorCode::config, "kernels/cuda",
                std::string("cuBLASLt does not start: ") + cublasLtGetStatusString(result),
                "check that the CUDA driver is as new as the toolkit of this build");
}

CudaState::~CudaState() { cublasLtDestroy(blas_); }

void* CudaState::scratch(size_t bytes) {
  if (!scratch_ || scratch_->bytes() < bytes) {
    // What runs may still use the old one.
    cudaDeviceSynchronize();
    scratch_.reset();
    scratch_ = allocate_memory(device_, std::max<size_t>(bytes, size_t{1} << 20));
  }
  return scratch_->data();
}

CudaState& state_of(const Stream& stream) {
  auto* state = dynamic_cast<CudaState*>(stream.state());
  if (state != nullptr) return *state;
  TRIDENT_CHECK(stream.state() == nullptr, "a CUDA stream with another library's state");
  auto made = std::make_shared<CudaState>(stream.device());
  stream.attach(made);
  return *made;
}

}  // namespace trident::cuda
