#pragma once

#include <memory>
#include <vector>

#include "parallel/comm/backend.h"
#include "parallel/comm/pinned_pool.h"

namespace trident {

/// Takes one call on a device's memory through the host's: what the rank gives is fetched, the back end works on the
/// copy, and what the rank gets is stored. Copies run beside the device's work, which waits for nothing but the result.
class StagedTransfer {
 public:
  /// Fetches what `call` gives, after what the device has been given so far; `call` becomes one on the host's memory.
  /// `size` and `rank` are the group's.
  StagedTransfer(std::shared_ptr<PinnedPool> pool, CollectiveCall& call, int size, int rank);
  /// The same for a message. A receive has nothing to fetch.
  StagedTransfer(std::shared_ptr<PinnedPool> pool, PeerMessage& message, CollectiveOp op);
  ~StagedTransfer();
  StagedTransfer(const StagedTransfer&) = delete;
  StagedTransfer& operator=(const StagedTransfer&) = delete;

  /// True once the back end may work on the copy.
  [[nodiscard]] bool fetched() const { return !fetch_ || fetch_->passed(); }
  /// Stores what the rank got, for the work that the device is given from now on, and calls the reader.
  void store();

 private:
  void fetch(const std::byte* device, std::byte* host, size_t bytes);

  std::shared_ptr<PinnedPool> pool_;
  PinnedPool::Block block_;
  DeviceCopies::MarkPtr before_;  // the end of the device's work at the time of the call
  DeviceCopies::MarkPtr fetch_;
  const std::byte* arrived_ = nullptr;
  std::byte* to_ = nullptr;
  size_t to_bytes_ = 0;
  CollectiveCall device_call_;  // for its reader
};

}  // namespace trident
