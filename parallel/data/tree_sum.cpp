#include "parallel/data/tree_sum.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/error.h"
#include "core/memory.h"
#include "kernels/tree_sum.h"
#include "parallel/comm/reduce.h"

namespace trident {
namespace {

// Elements that are summed up the whole tree before the next: their partial sums stay in the L1 or L2 cache.
constexpr int64_t kTile = 4096;
constexpr int64_t kTilesPerBlock = 4;

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

std::optional<int> TreeSum::source_of(ShardRun node) const {
  const auto found = std::find(nodes_.begin(), nodes_.end(), node);
  if (found == nodes_.end()) return std::nullopt;
  return static_cast<int>(found - nodes_.begin());
}

// The node itself, or its two children, where these are sources; otherwise none.
std::vector<int> TreeSum::sources_below(ShardRun node) const {
  if (const auto whole = source_of(node)) return {*whole};
  const int middle = ReductionTree::split(node);
  const auto left = source_of({node.begin, middle}), right = source_of({middle, node.end});
  if (!left || !right) return {};
  return {*left, *right};
}

// Operands for the sum over `node`, which is no source: the children, or grandchildren that can be summed in one pass.
std::vector<int> TreeSum::terms_of(ShardRun node, int temporaries) {
  const int middle = ReductionTree::split(node);
  std::vector<int> terms = sources_below({node.begin, middle});
  const std::vector<int> right_terms = sources_below({middle, node.end});
  const bool in_one_pass = right_terms.size() == 1 ? !terms.empty() : right_terms.size() == 2 && terms.size() == 2;
  if (in_one_pass) {
    terms.insert(terms.end(), right_terms.begin(), right_terms.end());
    return terms;
  }
  const int left = compile({node.begin, middle}, temporaries);
  const int right = compile({middle, node.end}, temporaries + (left < 0 ? 1 : 0));
  return {left, right};
}

// Emits the additions for `node`, whose first free temporary is number `temporaries`; returns the operand it ends in.
int TreeSum::compile(ShardRun node, int temporaries) {
  if (const auto source = source_of(node)) return *source;
  std::vector<int> terms = terms_of(node, temporaries);
  additions_.push_back({std::move(terms), -1 - temporaries});
  temporaries_ = std::max(temporaries_, temporaries + 1);
  return -1 - temporaries;
}

void TreeSum::run(const Stream& stream, DType dtype, std::span<const std::byte* const> sources, int64_t count,
                  std::byte* out) const {
  TRIDENT_CHECK(sources.size() == nodes_.size() && (dtype == DType::fp32 || dtype == DType::fp64));
  if (stream.device().kind == DeviceKind::meta || (additions_.empty() && sources[0] == out)) return;
  if (stream.device().kind == DeviceKind::cuda) return run_on_gpu(stream, dtype, sources, count, out);
  constexpr int64_t kBlock = kTile * kTilesPerBlock;
  stream.pool().parallel_for((count + kBlock - 1) / kBlock, [&](int64_t block) {
    const int64_t end = std::min(count, (block + 1) * kBlock);
    for (int64_t first = block * kBlock; first < end; first += kTile) {
      run_tile(dtype, sources, first, std::min(kTile, end - first), out);
    }
  });
}

void TreeSum::run_on_gpu(const Stream& stream, DType dtype, std::span<const std::byte* const> sources, int64_t count,
                         std::byte* out) const {
  if (additions_.empty()) {
    const auto tensor = [&](const std::byte* data) {
      return Tensor::borrow(const_cast<std::byte*>(data), {count}, dtype, stream.device());
    };
    return copy(stream, tensor(sources[0]), tensor(out));
  }
  std::vector<TreeAddition> additions;
  additions.reserve(additions_.size());
  for (const Addition& addition : additions_) {
    TreeAddition& added = additions.emplace_back();
    added.term_count = static_cast<int>(addition.terms.size());
    std::copy(addition.terms.begin(), addition.terms.end(), added.terms.begin());
    added.result = addition.result;
  }
  tree_sum(stream, dtype, sources, additions, count, out);
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
    std::array<const std::byte*, 4> terms{};
    std::transform(addition.terms.begin(), addition.terms.end(), terms.begin(), source);
    std::byte* const result[] = {&addition == &additions_.back() ? out + first * size : temporary(addition.result)};
    if (addition.terms.size() == terms.size())
      add_pairs(element_of(dtype), terms, count, result[0]);
    else
      reduce_in_order(ReduceOp::sum, element_of(dtype), std::span(terms).first(addition.terms.size()), count, result);
  }
}

}  // namespace trident
