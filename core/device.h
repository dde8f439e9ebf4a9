#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "core/thread_pool.h"

namespace trident {

enum class DeviceKind {
  cpu,
  cuda,
  meta,  ///< shapes only: tensors hold no memory and kernels do nothing. Memory plans are made on it.
};

/// Where a tensor lives and where work runs.
struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int index = 0;

  static Device cpu() { return {}; }
  static Device cuda(int index) { return {DeviceKind::cuda, index}; }
  static Device meta() { return {DeviceKind::meta, 0}; }
  bool operator==(const Device&) const = default;
};

[[nodiscard]] std::string to_string(Device device);

/// What a kernel on a GPU reports when its input is out of range; in memory that host and device share. The first
/// counts.
struct DeviceFault {
  enum Kind : int { none, token, label };
  int kind = none;
  int64_t row = 0;     ///< where it was found
  int64_t value = 0;   ///< what was found
  int64_t lowest = 0;  ///< it must lie in [lowest, limit)
  int64_t limit = 0;
};

/// What a kernel library keeps for one stream: BLAS choices, cuBLASLt handles. Kernels attach it and know its type.
class StreamState {
 public:
  virtual ~StreamState() = default;
};

/// An ordered queue of work on one device. On the CPU work is done when the call returns, by the stream's threads; on a
/// GPU it is done later, in order. Cheap to copy; copies are the same queue.
class Stream {
 public:
  /// A CPU stream with its own pool of `threads` compute threads.
  static Stream cpu(int threads);
  static Stream meta();
  /// A queue of GPU number `index`, with `threads` threads of the host for what the host does for it. The device is the
  /// calling thread's from then on. Throws Error(ErrorCode::config) without that GPU, or in a build without CUDA.
  static Stream cuda(int index, int threads = 1);
  /// Another queue of the same device, which shares the pool: for copies that run beside.
  [[nodiscard]] Stream side() const;

  [[nodiscard]] Device device() const { return device_; }
  /// The host's threads: what computes on CPU streams; none on the meta device.
  [[nodiscard]] ThreadPool& pool() const;
  /// Copies of the stream made before or after share the state.
  void attach(std::shared_ptr<StreamState> state) const { shared_->state = std::move(state); }
  [[nodiscard]] StreamState* state() const { return shared_->state.get(); }
  /// Waits until all work given so far is done. Throws Error(ErrorCode::bad_data) for what a kernel reported
  /// (DeviceFault), Error(ErrorCode::internal) for what the device did.
  void synchronize() const;
  /// CUDA's handle of the queue, a cudaStream_t; null elsewhere.
  [[nodiscard]] void* handle() const { return shared_->handle.get(); }
  /// Where kernels report input that they cannot work with; CUDA streams only.
  [[nodiscard]] DeviceFault* fault() const { return shared_->fault.get(); }

 private:
  struct Shared {
    std::shared_ptr<ThreadPool> pool;
    std::shared_ptr<void> handle;
    std::shared_ptr<DeviceFault> fault;
    std::shared_ptr<StreamState> state;
  };
  Device device_;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

/// A point in a stream's order that another stream or the host can wait for. Empty on the CPU, where it has passed when
/// it is recorded. Copies are the same event.
class Event {
 public:
  void record(const Stream& stream);
  /// What `stream` is given from now on waits for the point, if one was recorded.
  void wait(const Stream& stream) const;
  /// The host waits.
  void synchronize() const;
  /// True once all work before the point is done.
  [[nodiscard]] bool passed() const;

 private:
  Device device_;
  std::shared_ptr<void> handle_;
};

/// Logical processors that this process may run on.
[[nodiscard]] int available_cpus();

}  // namespace trident
