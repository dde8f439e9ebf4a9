#include "parallel/data/reduction_tree.h"

#include <algorithm>
#include <bit>

#include "core/error.h"

namespace trident {

ShardRun shards_of(int rank, int ranks, int shards) {
  TRIDENT_CHECK(0 <= rank && rank < ranks && shards >= 1);
  const int size = shards / ranks, larger = shards % ranks;
  const int begin = rank * size + std::min(rank, larger);
  return {begin, begin + size + (rank < larger ? 1 : 0)};
}

ReductionTree::ReductionTree(int shards) : shards_(shards) { TRIDENT_CHECK(shards >= 1); }

int ReductionTree::split(ShardRun node) {
  TRIDENT_CHECK(node.size() >= 2);
  return node.begin + static_cast<int>(std::bit_floor(static_cast<unsigned>(node.size() - 1)));
}

std::vector<ShardRun> ReductionTree::subtrees(ShardRun run) const {
  TRIDENT_CHECK(0 <= run.begin && run.begin <= run.end && run.end <= shards_);
  std::vector<ShardRun> found;
  collect(root(), run, found);
  return found;
}

void ReductionTree::collect(ShardRun node, ShardRun run, std::vector<ShardRun>& found) const {
  if (run.begin <= node.begin && node.end <= run.end) {
    found.push_back(node);
  } else if (node.begin < run.end && run.begin < node.end) {
    const int middle = split(node);
    collect({node.begin, middle}, run, found);
    collect({middle, node.end}, run, found);
  }
}

int ReductionTree::buffers(ShardRun run) const {
  size_t finished = 0;
  for (int shard = run.begin; shard < run.end; ++shard) {
    finished = std::max(finished, subtrees({run.begin, shard}).size());
  }
  return static_cast<int>(finished) + 1;
}

int ReductionTree::max_buffers(int shards) {
  TRIDENT_CHECK(shards >= 1);
  return shards == 1 ? 1 : 2 * (std::bit_width(static_cast<unsigned>(shards) + 1) - 1);
}

}  // namespace trident
