#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "core/allocator.h"

namespace trident {
namespace {

using Block = ArenaPlan::Block;

// The placed blocks of one offset. No two live at the same time, so births and deaths ascend together. Blocks of one
// size come one after the other, in order of birth.
class Slot {
 public:
  explicit Slot(size_t offset) : offset_(offset) {}

  [[nodiscard]] size_t offset() const { return offset_; }
  /// Where the largest block ends.
  [[nodiscard]] size_t end() const { return offset_ + largest_; }

  /// Where the largest block ends that lives at the same time as `block`; 0 where there is none.
  [[nodiscard]] size_t end_beside(const Block& block) {
    if (block.birth >= last_death_ || block.death <= first_birth_) return 0;
    size_t bytes = !recent_.empty() && block.birth < recent_.back().death ? recent_.back().bytes : 0;
    seek(block.birth);
    for (size_t i = next_; i < settled_.size() && settled_[i].birth < block.death && bytes < largest_; ++i)
      bytes = std::max(bytes, settled_[i].bytes);
    return bytes == 0 ? 0 : offset_ + bytes;
  }

  void add(const Block& block) {
    recent_.push_back({block.birth, block.death, block.bytes});
    largest_ = std::max(largest_, block.bytes);
    first_birth_ = std::min(first_birth_, block.birth);
    last_death_ = std::max(last_death_, block.death);
  }

  /// The next blocks are of another size, and begin early again.
  void settle() {
    const auto middle = static_cast<std::ptrdiff_t>(settled_.size());
    settled_.insert(settled_.end(), recent_.begin(), recent_.end());
    std::inplace_merge(settled_.begin(), settled_.begin() + middle, settled_.end(),
                       [](const Life& a, const Life& b) { return a.birth < b.birth; });
    recent_.clear();
  }

 private:
  struct Life {
    int64_t birth;
    int64_t death;
    size_t bytes;
  };

  // Moves next_ to the first settled block that dies after `time`: mostly where it was for the block before, or near.
  void seek(int64_t time) {
    next_ = std::min(next_, settled_.size());
    const size_t near = std::min(next_ + 4, settled_.size());
    if (next_ == 0 || settled_[next_ - 1].death <= time)
      for (; next_ < near; ++next_)
        if (settled_[next_].death > time) return;
    const auto after =
        std::partition_point(settled_.begin(), settled_.end(), [&](const Life& life) { return life.death <= time; });
    next_ = static_cast<size_t>(after - settled_.begin());
  }

  size_t offset_;
  size_t largest_ = 0;
  int64_t first_birth_ = std::numeric_limits<int64_t>::max();
  int64_t last_death_ = std::numeric_limits<int64_t>::min();
  size_t next_ = 0;
  std::vector<Life> settled_;  // of the sizes before
  std::vector<Life> recent_;   // of the present size: the last one dies last
};

// Periodic programs use few offsets again and again, so a block looks at a few slots and in each at its own time only,
// however long the program is.
class Slots {
 public:
  // The lowest offset at which nothing lies during the block's life.
  size_t place(const Block& block) {
    size_t offset = 0;
    for (Slot& slot : slots_) {
      if (offset + block.bytes <= slot.offset()) break;
      if (offset < slot.end()) offset = std::max(offset, slot.end_beside(block));
    }
    at(offset).add(block);
    used_.push_back(offset);
    return offset;
  }

  /// The next blocks are of another size.
  void settle() {
    std::sort(used_.begin(), used_.end());
    used_.erase(std::unique(used_.begin(), used_.end()), used_.end());
    for (const size_t offset : used_) at(offset).settle();
    used_.clear();
  }

 private:
  Slot& at(size_t offset) {
    const auto place = std::lower_bound(slots_.begin(), slots_.end(), offset,
                                        [](const Slot& slot, size_t value) { return slot.offset() < value; });
    return place != slots_.end() && place->offset() == offset ? *place : *slots_.emplace(place, offset);
  }

  std::vector<Slot> slots_;   // by offset
  std::vector<size_t> used_;  // offsets of the blocks since the last settle()
};

std::vector<size_t> largest_first(const std::vector<Block>& blocks) {
  std::vector<size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return blocks[a].bytes > blocks[b].bytes; });
  return order;
}

}  // namespace

size_t ArenaPlan::lower_bound() const {
  std::vector<std::pair<int64_t, int64_t>> changes;  // when, bytes; at the same time deaths come first
  for (const Block& block : blocks) {
    if (block.birth >= block.death) continue;
    changes.emplace_back(block.birth, static_cast<int64_t>(block.bytes));
    changes.emplace_back(block.death, -static_cast<int64_t>(block.bytes));
  }
  std::sort(changes.begin(), changes.end());
  int64_t alive = 0, most = 0;
  for (const auto& [time, bytes] : changes) most = std::max(most, alive += bytes);
  return static_cast<size_t>(most);
}

ArenaPlan plan_arena(std::vector<ArenaPlan::Block> blocks) {
  ArenaPlan plan;
  plan.blocks = std::move(blocks);
  Slots slots;
  size_t bytes = 0;
  for (const size_t index : largest_first(plan.blocks)) {
    Block& block = plan.blocks[index];
    if (block.bytes != bytes) slots.settle();
    bytes = block.bytes;
    block.offset = slots.place(block);
    plan.total_bytes = std::max(plan.total_bytes, block.offset + block.bytes);
  }
  return plan;
}

}  // namespace trident
