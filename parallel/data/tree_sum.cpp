#include "parallel/data/tree_sum.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "parallel/comm/reduce.h"

namespace trident {
namespace {

// Elements that are summed up the whole tree before the next: their partial sums stay in the L1 cache.
constexpr int64_t kTile = 1024;
constexpr int64_t kTilesPerBlock = 16;

}  // namespace

TreeSum::TreeSum(const ReductionTree& tree, std::vector<ShardRun> nodes) : nodes_(std::move(nodes)) {
  int next = 0;
  for (const ShardRun node : nodes_) {
    TRIDENT_CHECK(node.begin == next, "the subtrees leave a gap");
    next = node.end;
  }
  TRIDENT_CHECK(next == tree.shards(), "the subtrees are not the whole tree");
  (void)compile(tree.root(), 0);
}

// Emits the additions for `node`, whose first free temporary is number `temporaries`; returns the operand it ends in.
int TreeSum::compile(ShardRun node, int temporaries) {
  const auto found = std::find(nodes_.begin(), nodes_.end(), node);
  if (found != nodes_.end()) return static_cast<int>(found - nodes_.begin());
  const int middle = ReductionTree::split(node);
  const int left = compile({node.begin, middle}, temporaries);
  const int right = compile({middle, node.end}, temporaries + (left < 0 ? 1 : 0));
  additions_.push_back({left, right, -1 - temporaries});
  temporaries_ = std::max(temporaries_, temporaries + 1);
  return -1 - temporaries;
}

void TreeSum::run(const Stream& stream, DType dtype, std::span<const std::byte* const> sources, int64_t count,
                  std::byte* out) const {
  TRIDENT_CHECK(sources.size() == nodes_.size() && (dtype == DType::fp32 || dtype == DType::fp64));
  if (stream.device().kind == DeviceKind::meta || (additions_.empty() && sources[0] == out)) return;
  constexpr int64_t kBlock = kTile * kTilesPerBlock;
  stream.pool().parallel_for((count + kBlock - 1) / kBlock, [&](int64_t block) {
    const int64_t end = std::min(count, (block + 1) * kBlock);
    for (int64_t first = block * kBlock; first < end; first += kTile) {
      run_tile(dtype, sources, first, std::min(kTile, end - first), out);
    }
  });
}

void TreeSum::run_tile(DType dtype, std::span<const std::byte* const> sources, int64_t first, int64_t count,
                       std::byte* out) const {
  const auto size = static_cast<int64_t>(size_of(dtype));
  if (additions_.empty()) {
    std::memcpy(out + first * size, sources[0] + first * size, static_cast<size_t>(count * size));
    return;
  }
  thread_local std::vector<double> temporaries;
  temporaries.resize(static_cast<size_t>(temporaries_ * kTile));
  const auto temporary = [&](int operand) {
    return reinterpret_cast<std::byte*>(temporaries.data() + (-1 - operand) * kTile);
  };
  const auto source = [&](int operand) -> const std::byte* {
    return operand < 0 ? temporary(operand) : sources[static_cast<size_t>(operand)] + first * size;
  };
  for (const Addition& addition : additions_) {
    const std::byte* const terms[] = {source(addition.left), source(addition.right)};
    std::byte* const result[] = {&addition == &additions_.back() ? out + first * size : temporary(addition.result)};
    reduce_in_order(ReduceOp::sum, element_of(dtype), terms, count, result);
  }
}

}  // namespace trident
