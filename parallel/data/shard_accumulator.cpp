#include "parallel/data/shard_accumulator.h"

#include <algorithm>

#include "core/memory.h"
#include "kernels/elementwise.h"

namespace trident {
namespace {

Tensor view(const Tensor& flat, FlatSpan range) { return flat.flat_view(range.begin, {range.size()}); }

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
  set_zero(stream, current);
}

}  // namespace trident
