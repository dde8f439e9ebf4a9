#include "parallel/data/gradient_buckets.h"

#include <algorithm>

#include "parallel/data/exact_reduction.h"
#include "parallel/data/fast_reduction.h"
#include "parallel/data/gather_bucket.h"

namespace trident {
namespace {

bool overlap(FlatSpan a, FlatSpan b) { return a.begin < b.end && b.begin < a.end; }

}  // namespace

std::vector<FlatSpan> spans_of(const std::vector<ParameterGroup*>& groups, int64_t elements) {
  std::vector<FlatSpan> spans;
  for (const ParameterGroup* group : groups) {
    const int64_t begin = group->members.front().flat_offset;
    if (!spans.empty()) spans.back().end = begin;
    spans.push_back({begin, elements});
  }
  return spans;
}

GradientBuckets::GradientBuckets(Communicator dp, ReductionKind kind, const ReductionTree& tree,
                                 const FlatPartition& partition, std::vector<FlatSpan> groups, Tensor grads)
    : dp_(std::move(dp)),
      run_(shards_of(dp_.rank(), dp_.size(), tree.shards())),
      partition_(partition),
      groups_(std::move(groups)),
      grads_(std::move(grads)) {
  int64_t next = 0;
  for (const FlatSpan group : groups_) {
    TRIDENT_CHECK(group.begin == next && group.size() >= 0, "groups must cover the gradients in order");
    next = group.end;
  }
  TRIDENT_CHECK(next == grads_.elements(), "groups must cover the gradients");
  if (kind == ReductionKind::exact) {
    accumulator_.emplace(tree, run_, grads_);
    auto exact = std::make_unique<ExactReduction>(dp_, tree, partition_, accumulator_->pieces(), grads_);
    scratch_bytes_ = exact->scratch_bytes();
    reduction_ = std::move(exact);
  } else {
    reduction_ = std::make_unique<FastReduction>(dp_, partition_, grads_);
  }
  begin_step();
}

void GradientBuckets::begin_step() {
  next_shard_.assign(groups_.size(), run_.begin);
  missing_.assign(static_cast<size_t>(partition_.buckets()), 0);
  next_bucket_ = partition_.buckets() - 1;
  if (run_.size() == 0) return;
  for (int bucket = 0; bucket < partition_.buckets(); ++bucket) {
    const FlatSpan span = partition_.bucket(bucket);
    missing_[static_cast<size_t>(bucket)] = static_cast<int>(
        std::count_if(groups_.begin(), groups_.end(), [&](FlatSpan group) { return overlap(group, span); }));
  }
}

void GradientBuckets::ready(const Stream& stream, size_t group) {
  TRIDENT_CHECK(group < groups_.size() && next_shard_[group] < run_.end, "more shards than this rank has");
  const FlatSpan span = groups_[group];
  const int shard = next_shard_[group]++;
  if (accumulator_) accumulator_->finish_shard(stream, span, shard);
  if (shard + 1 < run_.end) return;
  for (int bucket = 0; bucket < partition_.buckets(); ++bucket) {
    if (overlap(partition_.bucket(bucket), span)) --missing_[static_cast<size_t>(bucket)];
  }
  start_ready_buckets(stream);
}

void GradientBuckets::start_ready_buckets(const Stream& stream) {
  while (next_bucket_ >= 0 && missing_[static_cast<size_t>(next_bucket_)] == 0) {
    reduction_->start(stream, next_bucket_--);
  }
}

void GradientBuckets::finish(const Stream& stream) {
  start_ready_buckets(stream);
  TRIDENT_CHECK(next_bucket_ < 0, "a shard's gradients are missing");
  reduction_->finish();
  begin_step();
}

void GradientBuckets::gather() {
  std::vector<Pending> pending;
  for (int bucket = 0; bucket < partition_.buckets(); ++bucket) {
    for (Pending& one : gather_bucket(dp_, partition_, bucket, grads_)) pending.push_back(std::move(one));
  }
  for (Pending& one : pending) one.wait();
}

}  // namespace trident
