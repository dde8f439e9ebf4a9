#include "parallel/comm/pinned_pool.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace trident {

size_t PinnedPool::size_class(size_t bytes) {
  constexpr size_t kSmallest = 4096;
  if (bytes <= kSmallest) return kSmallest;
  const size_t step = std::bit_ceil(bytes) / 8;  // a quarter of the power of two below
  return (bytes + step - 1) / step * step;
}

PinnedPool::Block PinnedPool::take(size_t bytes) {
  if (bytes == 0) return {};
  const size_t size = size_class(bytes);
  std::vector<Block>& blocks = free_[size];
  const auto idle = std::find_if(blocks.begin(), blocks.end(),
                                 [](const Block& block) { return !block.last_use || block.last_use->passed(); });
  if (idle == blocks.end()) {
    bytes_ += size;
    return {copies_->allocate_host(size), nullptr};
  }
  Block block = std::move(*idle);
  blocks.erase(idle);
  block.last_use = nullptr;
  return block;
}

void PinnedPool::give_back(Block block) {
  if (block.buffer) free_[block.buffer->bytes()].push_back(std::move(block));
}

}  // namespace trident
