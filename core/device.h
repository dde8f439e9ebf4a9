#pragma once

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
  static Device meta() { return {DeviceKind::meta, 0}; }
  bool operator==(const Device&) const = default;
};

[[nodiscard]] std::string to_string(Device device);

/// What a kernel library keeps for one stream: BLAS choices, cuBLASLt handles. Kernels attach it and know its type.
class StreamState {
 public:
  virtual ~StreamState() = default;
};

/// An ordered queue of work on one device. On the CPU work is done when the call returns, by the stream's threads.
/// Cheap to copy; copies are the same queue.
class Stream {
 public:
  /// A CPU stream with its own pool of `threads` compute threads.
  static Stream cpu(int threads);
  static Stream meta();

  [[nodiscard]] Device device() const { return device_; }
  /// The compute threads; CPU streams only.
  [[nodiscard]] ThreadPool& pool() const;
  /// Copies of the stream made before or after share the state.
  void attach(std::shared_ptr<StreamState> state) const { shared_->state = std::move(state); }
  [[nodiscard]] StreamState* state() const { return shared_->state.get(); }
  /// Waits until all work given so far is done.
  void synchronize() const {}

 private:
  struct Shared {
    std::unique_ptr<ThreadPool> pool;
    std::shared_ptr<StreamState> state;
  };
  Device device_;
  std::shared_ptr<Shared> shared_ = std::make_shared<Shared>();
};

/// A point in a stream's order that another stream or the host can wait for. Empty on the CPU.
class Event {
 public:
  void record(const Stream&) {}
  void wait(const Stream&) const {}
  void synchronize() const {}
};

/// Logical processors that this process may run on.
[[nodiscard]] int available_cpus();

}  // namespace trident
