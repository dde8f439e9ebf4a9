#include "train/config/microbatch_split.h"

#include <algorithm>
#include <numeric>

#include "parallel/data/reduction_tree.h"
#include "train/config/job_config.h"

namespace trident {

ShardRange MicrobatchSplit::of_shard(int shard) const {
  return shard_range(microbatches, shard, static_cast<int>(shards));
}

ShardRange MicrobatchSplit::of_rank(int rank) const {
  const ShardRun run = shards_of(rank, static_cast<int>(dp), static_cast<int>(shards));
  const ShardRange last = of_shard(run.end - 1);
  const int64_t begin = of_shard(run.begin).begin;
  return {begin, last.begin + last.count - begin};
}

int64_t step_microbatches(const JobConfig& job) {
  const int64_t size = job.training.micro_batch_size.value();
  return (job.training.global_batch_size + size - 1) / size;
}

int64_t least_microbatches(const JobConfig& job) {
  const auto& layout = job.parallelism;
  const int64_t dp = layout.dp.value_or(1), shards = std::max(dp, layout.logical_shards.value_or(dp));
  if (layout.schedule != config::Auto(config::PipelineSchedule::interleaved)) return shards;
  const int64_t each = layout.pp.value_or(1);
  int64_t low = shards, high = shards * each;
  while (low < high) {
    const int64_t middle = std::midpoint(low, high);
    if (MicrobatchSplit{middle, shards, dp}.fewest() < each) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

}  // namespace trident
