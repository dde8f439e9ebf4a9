#include "parallel/comm/staged_transfer.h"

#include <numeric>
#include <utility>

namespace trident {
namespace {

size_t aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

size_t total(const std::vector<int64_t>& counts) {
  return static_cast<size_t>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
}

/// Where a call's two buffers lie in one piece of memory: one inside the other wherever calls allow it.
struct Layout {
  size_t in = 0, in_bytes = 0;    ///< what the rank gives
  size_t out = 0, out_bytes = 0;  ///< what it gets
  size_t bytes = 0;
};

Layout layout_of(const CollectiveCall& call, size_t size, size_t rank) {
  const size_t part = static_cast<size_t>(call.count) * call.element_size();
  const bool is_root = static_cast<size_t>(call.signature.root) == rank;
  Layout layout;
  switch (call.signature.op) {
    case CollectiveOp::broadcast: return {0, is_root ? part : 0, 0, is_root ? 0 : part, part};
    case CollectiveOp::reduce_scatter: return {0, part * size, rank * part, part, part * size};
    case CollectiveOp::all_gather: return {rank * part, part, 0, part * size, part * size};
    case CollectiveOp::all_to_all:
      layout.in_bytes = total(call.send_counts) * call.element_size();
      layout.out = aligned(layout.in_bytes);
      layout.out_bytes = total(call.recv_counts) * call.element_size();
      layout.bytes = layout.out + layout.out_bytes;
      return layout;
    default: return {0, part, 0, part, part};
  }
}

}  // namespace

StagedTransfer::StagedTransfer(std::shared_ptr<PinnedPool> pool, CollectiveCall& call, int size, int rank)
    : pool_(std::move(pool)), device_call_(call) {
  const Layout layout = layout_of(call, static_cast<size_t>(size), static_cast<size_t>(rank));
  block_ = pool_->take(layout.bytes);
  before_ = pool_->copies().mark();
  to_ = call.out;
  to_bytes_ = layout.out_bytes;
  call.in = block_.data() + layout.in;
  call.out = block_.data() + layout.out;
  call.read = nullptr;
  arrived_ = call.out;
  fetch(device_call_.in, block_.data() + layout.in, layout.in_bytes);
}

StagedTransfer::StagedTransfer(std::shared_ptr<PinnedPool> pool, PeerMessage& message, CollectiveOp op)
    : pool_(std::move(pool)), block_(pool_->take(message.bytes)), before_(pool_->copies().mark()) {
  const std::byte* const device = std::exchange(message.data, block_.data());
  if (op == CollectiveOp::send) {
    fetch(device, block_.data(), message.bytes);
    return;
  }
  to_ = const_cast<std::byte*>(device);
  to_bytes_ = message.bytes;
  arrived_ = block_.data();
}

StagedTransfer::~StagedTransfer() { pool_->give_back(std::move(block_)); }

void StagedTransfer::fetch(const std::byte* device, std::byte* host, size_t bytes) {
  if (bytes == 0) return;
  fetch_ = pool_->copies().fetch(device, host, bytes, before_);
  block_.last_use = fetch_;
}

// The device may still be reading what is overwritten, hence after `before_`.
void StagedTransfer::store() {
  if (to_bytes_ > 0) block_.last_use = pool_->copies().store(arrived_, to_, to_bytes_, before_);
  device_call_.read_arrivals();
}

}  // namespace trident
