#pragma once

#include <cstddef>
#include <memory>

#include "core/device.h"
#include "core/tensor.h"

namespace trident {

/// What communication through the host's memory needs of a device: the order of its work, and copies that run beside
/// it. One rank's; used by its thread only.
class DeviceCopies {
 public:
  /// A point in the order of work.
  class Mark {
   public:
    virtual ~Mark() = default;
    /// True once all work before the point is done.
    [[nodiscard]] virtual bool passed() const = 0;
  };
  using MarkPtr = std::shared_ptr<Mark>;

  virtual ~DeviceCopies() = default;
  /// The end of what the compute stream has been given so far.
  virtual MarkPtr mark() = 0;
  /// Copies to the host's memory once `after` has passed. Fetches follow each other.
  virtual MarkPtr fetch(const std::byte* device, std::byte* host, size_t bytes, const MarkPtr& after) = 0;
  /// Copies to the device once `after` has passed; what the compute stream is given from now on waits for it. Stores
  /// follow each other.
  virtual MarkPtr store(const std::byte* host, std::byte* device, size_t bytes, const MarkPtr& after) = 0;
  /// Copies from the device to itself, in the compute stream's order.
  virtual void move(const std::byte* from, std::byte* to, size_t bytes) = 0;
  /// Memory of the host that fetches and stores may use.
  virtual std::shared_ptr<Buffer> allocate_host(size_t bytes) = 0;
  /// Returns when no fetch or store is under way.
  virtual void wait_for_copies() noexcept = 0;
};

/// Copies beside the work of `compute`, a GPU's stream, on two queues of their own: one each way.
[[nodiscard]] std::shared_ptr<DeviceCopies> copies_beside(const Stream& compute);

}  // namespace trident
