#include "parallel/data/shard_accumulator.h"

#include <algorithm>
#include <cstring>

#include "core/allocator.h"
#include "kernels/elementwise.h"

namespace trident {
namespace {

constexpr int64_t kBlock = int64_t{1} << 16;

Tensor view(const Tensor& flat, FlatSpan range) { return flat.flat_view(range.begin, {range.size()}); }

/// Calls work(first byte, bytes) for blocks of a tensor of `bytes` bytes.
template <class Work>
void for_bytes(const Stream& stream, size_t bytes, const Work& work) {
  if (stream.device().kind == DeviceKind::meta) return;
  const auto total = static_cast<int64_t>(bytes);
  stream.pool().parallel_for((total + kBlock - 1) / kBlock, [&](int64_t block) {
    work(block * kBlock, static_cast<size_t>(std::min(kBlock, total - block * kBlock)));
  });
}

void zero(const Stream& stream, const Tensor& tensor) {
  auto* to = static_cast<std::byte*>(tensor.raw());
  for_bytes(stream, tensor.bytes(), [&](int64_t first, size_t bytes) { std::memset(to + first, 0, bytes); });
}

void copy(const Stream& stream, const Tensor& from_tensor, const Tensor& to_tensor) {
  const auto* from = static_cast<const std::byte*>(from_tensor.raw());
  auto* to = static_cast<std::byte*>(to_tensor.raw());
  for_bytes(stream, from_tensor.bytes(),
            [&](int64_t first, size_t bytes) { std::memcpy(to + first, from + first, bytes); });
}

Tensor allocate_like(const Tensor& tensor) {
  if (tensor.device().kind == DeviceKind::meta)
    return HeapAllocator(tensor.device()).allocate(tensor.shape(), tensor.dtype());
  return {map_memory(tensor.bytes()), 0, tensor.shape(), tensor.dtype()};
}

}  // namespace

ShardAccumulator::ShardAccumulator(const ReductionTree& tree, ShardRun run, Tensor grads)
    : tree_(tree), run_(run), grads_(std::move(grads)), nodes_(tree.subtrees(run)) {
  for (int i = 1; i < tree.buffers(run); ++i) slots_.push_back(allocate_like(grads_));
  if (nodes_.empty()) return;
  pieces_.assign(slots_.begin(), slots_.begin() + static_cast<std::ptrdiff_t>(nodes_.size() - 1));
  pieces_.push_back(grads_);
}

void ShardAccumulator::finish_shard(const Stream& stream, FlatSpan range, int shard) {
  TRIDENT_CHECK(run_.begin <= shard && shard < run_.end);
  const size_t before = tree_.subtrees({run_.begin, shard}).size();
  const size_t after = tree_.subtrees({run_.begin, shard + 1}).size();
  const bool last = shard + 1 == run_.end;
  Tensor current = view(grads_, range);
  // Every subtree that the shard completes is its left neighbour plus what is complete so far.
  if (last) {
    for (size_t slot = before; slot-- >= after;) accumulate(stream, view(slots_[slot], range), current);
    return;
  }
  if (after > before) {
    copy(stream, current, view(slots_[before], range));
  } else {
    for (size_t slot = before; slot-- >= after;) {
      Tensor left = view(slots_[slot], range);
      accumulate(stream, slot + 1 == before ? current : view(slots_[slot + 1], range), left);
    }
  }
  zero(stream, current);
}

}  // namespace trident
