#pragma once

#include <memory>
#include <string>

#include "parallel/comm/backend.h"

namespace trident {

/// Something that a device does in an order of its own, beside the compute stream.
class DeviceOperation {
 public:
  virtual ~DeviceOperation() = default;
  /// Gives it to the device, once what came before has been given; true when that is done. May be called again.
  virtual bool launch() = 0;
  /// True once the device has done it. Not before launch().
  [[nodiscard]] virtual bool passed() const = 0;
  /// What the compute stream is given from now on waits for it. Not before launch().
  virtual void join() = 0;
};

/// Moves the tensors of one group between its ranks' devices without the host's memory. One rank's end; used by its
/// thread only. Operations take what the compute stream has been given before their start.
class DeviceTransport {
 public:
  virtual ~DeviceTransport() = default;
  /// `call` is on the device's memory, barriers excepted; the caller calls its reader.
  virtual std::unique_ptr<DeviceOperation> start(const CollectiveCall& call) = 0;
  /// A send or a receive. `host` is the same group's, for what ranks must tell one another first.
  virtual std::unique_ptr<DeviceOperation> start(CollectiveOp op, const PeerMessage& message, CommBackend& host) = 0;
  /// This rank's end of the group of all ranks that give the same colour, ordered by key; null for a negative one.
  /// Collective; waits for what was launched.
  virtual std::shared_ptr<DeviceTransport> split(int color, int key) = 0;
  /// Throws Error(peer_lost) for what went wrong since.
  virtual void poll() = 0;
  /// Ends everything under way on the device; of no use after that.
  virtual void abort() noexcept = 0;
  /// Zeroed memory of the device that this group's operations reach fastest.
  virtual std::shared_ptr<Buffer> allocate(size_t bytes) = 0;
};

}  // namespace trident
