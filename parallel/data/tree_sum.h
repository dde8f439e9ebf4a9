#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"
#include "parallel/data/reduction_tree.h"

namespace trident {

/// Sums subtrees of a reduction tree, element by element, in the tree's order.
class TreeSum {
 public:
  /// `nodes` are nodes of the tree, left to right, which together are the whole tree.
  TreeSum(const ReductionTree& tree, std::vector<ShardRun> nodes);

  /// out[i] = Σ over the tree of sources[node][i], i in [0, count), of fp32 or fp64; by the stream's threads, or on its
  /// GPU, where it is done later. `out` may be one of the sources.
  void run(const Stream& stream, DType dtype, std::span<const std::byte* const> sources, int64_t count,
           std::byte* out) const;

 private:
  // An operand: a source, or else (negative) the temporary −1 − operand.
  struct Addition {
    std::vector<int> terms;  // two or three: in their order; four: as two pairs
    int result = 0;
  };
  [[nodiscard]] int compile(ShardRun node, int temporaries);
  [[nodiscard]] std::vector<int> terms_of(ShardRun node, int temporaries);
  [[nodiscard]] std::optional<int> source_of(ShardRun node) const;
  [[nodiscard]] std::vector<int> sources_below(ShardRun node) const;
  void run_on_gpu(const Stream& stream, DType dtype, std::span<const std::byte* const> sources, int64_t count,
                  std::byte* out) const;
  void run_tile(DType dtype, std::span<const std::byte* const> sources, int64_t first, int64_t count,
                std::byte* out) const;

  std::vector<ShardRun> nodes_;
  std::vector<Addition> additions_;  // the last one gives the result
  int temporaries_ = 0;
};

}  // namespace trident
