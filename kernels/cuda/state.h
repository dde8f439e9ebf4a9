#pragma once

#include <cublasLt.h>

#include <cstddef>
#include <map>
#include <memory>
#include <typeindex>
#include <utility>

#include "core/device.h"
#include "core/tensor.h"

namespace trident::cuda {

/// What kernels keep for a CUDA stream: scratch memory, cuBLASLt's handle and workspace.
class CudaState : public StreamState {
 public:
  static constexpr size_t kWorkspaceBytes = size_t{32} << 20;

  explicit CudaState(Device device);
  ~CudaState() override;
  CudaState(const CudaState&) = delete;
  CudaState& operator=(const CudaState&) = delete;

  /// Memory for one kernel call's own use, at least `bytes`, 256-byte aligned; calls of one stream follow each other,
  /// so they share it. Grows, which waits for the device, so a training's first step settles it.
  [[nodiscard]] void* scratch(size_t bytes);
  /// Whether kernels must return the same bits every time. True until the run gives it up.
  [[nodiscard]] bool repeatable() const { return repeatable_; }
  void allow_unrepeatable() { repeatable_ = false; }
  [[nodiscard]] cublasLtHandle_t blas() const { return blas_; }
  [[nodiscard]] void* workspace() const { return workspace_->data(); }
  /// What a kernel family keeps for the stream: one T, made from `arguments` on the first call.
  template <class T, class... Arguments>
  [[nodiscard]] T& keep(Arguments&&... arguments) {
    std::shared_ptr<void>& kept = kept_[typeid(T)];
    if (!kept) kept = std::make_shared<T>(std::forward<Arguments>(arguments)...);
    return *static_cast<T*>(kept.get());
  }

 private:
  Device device_;
  cublasLtHandle_t blas_ = nullptr;
  bool repeatable_ = true;
  std::shared_ptr<Buffer> workspace_, scratch_;
  std::map<std::type_index, std::shared_ptr<void>> kept_;
};

/// The stream's state, made on first use.
[[nodiscard]] CudaState& state_of(const Stream& stream);

}  // namespace trident::cuda
