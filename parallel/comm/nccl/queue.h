#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "parallel/comm/device_transport.h"
#include "parallel/comm/nccl/library.h"

namespace trident::nccl {

/// A communicator of NCCL that never blocks the host, and the ordered queue of its operations.
class Queue {
 public:
  using Make = std::function<ncclResult_t(ncclComm_t* comm, ncclConfig_t* config)>;
  /// Starts to make the communicator; it is ready when idle() says so. `max_blocks` of the device's multiprocessors
  /// work for it at most; 0: as NCCL thinks best.
  Queue(cudaStream_t compute, const Make& make, int max_blocks);
  ~Queue();
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;

  /// True when the last call has been carried out on the host; throws Error(peer_lost) for what went wrong since.
  [[nodiscard]] bool idle() const;
  /// Waits for idle(). Throws Error(peer_lost) naming `what` after the timeout.
  void wait_until_idle(std::chrono::milliseconds timeout, const char* what) const;
  /// Waits until the device has done all that was launched, likewise.
  void wait_until_done(std::chrono::milliseconds timeout, const char* what) const;
  /// Starts to give its resources back, together with the other ranks; the destructor does the rest.
  void finalize() noexcept;
  void abort() noexcept;

  /// Null until NCCL, which works beside, has made it.
  [[nodiscard]] ncclComm_t comm() const { return __atomic_load_n(comm_.get(), __ATOMIC_ACQUIRE); }
  [[nodiscard]] cudaStream_t stream() const { return stream_.get(); }
  [[nodiscard]] cudaStream_t compute() const { return compute_; }

 private:
  friend class QueuedOperation;

  cudaStream_t compute_;
  StreamHandle stream_ = make_urgent_stream();
  std::unique_ptr<ncclComm_t> comm_ = std::make_unique<ncclComm_t>(nullptr);  // NCCL fills it in later
  EventHandle last_;                                                          // the end of what was launched
  bool finalized_ = false;
  bool aborted_ = false;
};

/// One or several calls of NCCL in a queue.
class QueuedOperation final : public DeviceOperation {
 public:
  using Enqueue = std::function<void(const Queue& queue)>;
  /// Takes what was given before `begin` was recorded.
  QueuedOperation(std::shared_ptr<Queue> queue, EventHandle begin, Enqueue enqueue);
  bool launch() override;
  [[nodiscard]] bool passed() const override;
  void join() override;

 private:
  enum class State { waiting, enqueued, launched };
  std::shared_ptr<Queue> queue_;
  Enqueue enqueue_;
  EventHandle begin_, end_ = make_event();
  State state_ = State::waiting;
};

}  // namespace trident::nccl
