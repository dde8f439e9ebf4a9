#pragma once

#include <map>
#include <memory>
#include <vector>

#include "parallel/comm/device_copies.h"

namespace trident {

/// Memory of the host for copies to and from a device, kept for the next operation of about the same size: pinning
/// takes longer than most copies.
class PinnedPool {
 public:
  struct Block {
    std::shared_ptr<Buffer> buffer;
    DeviceCopies::MarkPtr last_use;  ///< null: it may be used at once

    [[nodiscard]] std::byte* data() const { return buffer ? static_cast<std::byte*>(buffer->data()) : nullptr; }
  };

  explicit PinnedPool(std::shared_ptr<DeviceCopies> copies) : copies_(std::move(copies)) {}
  /// Waits for copies that still use the memory.
  ~PinnedPool() { copies_->wait_for_copies(); }
  PinnedPool(const PinnedPool&) = delete;
  PinnedPool& operator=(const PinnedPool&) = delete;

  /// At least `bytes`, which nothing uses any more; without memory for 0.
  [[nodiscard]] Block take(size_t bytes);
  void give_back(Block block);
  [[nodiscard]] DeviceCopies& copies() const { return *copies_; }
  /// Of all blocks that were ever made.
  [[nodiscard]] size_t bytes() const { return bytes_; }

  /// `bytes` rounded up so that sizes fall into few classes: at most a quarter is wasted.
  [[nodiscard]] static size_t size_class(size_t bytes);

 private:
  std::shared_ptr<DeviceCopies> copies_;
  std::map<size_t, std::vector<Block>> free_;  // by size; oldest first
  size_t bytes_ = 0;
};

}  // namespace trident
