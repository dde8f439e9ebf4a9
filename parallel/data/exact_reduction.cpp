#include "parallel/data/exact_reduction.h"

#include <algorithm>
#include <numeric>

#include "core/allocator.h"

namespace trident {
namespace {

std::vector<ShardRun> all_pieces(const ReductionTree& tree, int ranks) {
  std::vector<ShardRun> nodes;
  for (int rank = 0; rank < ranks; ++rank) {
    const std::vector<ShardRun> own = tree.subtrees(shards_of(rank, ranks, tree.shards()));
    nodes.insert(nodes.end(), own.begin(), own.end());
  }
  return nodes;
}

int64_t total(const std::vector<int64_t>& counts) { return std::accumulate(counts.begin(), counts.end(), int64_t{0}); }

}  // namespace

ExactReduction::ExactReduction(Communicator group, const ReductionTree& tree, const FlatPartition& partition,
                               std::vector<Tensor> pieces, Tensor grads)
    : group_(std::move(group)),
      partition_(partition),
      pieces_(std::move(pieces)),
      grads_(std::move(grads)),
      sum_(tree, all_pieces(tree, group_.size())) {
  TRIDENT_CHECK(partition_.ranks() == group_.size() && partition_.elements() == grads_.elements());
  for (int rank = 0; rank < group_.size(); ++rank) {
    piece_counts_.push_back(tree.subtrees(shards_of(rank, group_.size(), tree.shards())).size());
    rounds_ = std::max(rounds_, piece_counts_.back());
  }
  TRIDENT_CHECK(pieces_.size() == piece_counts_[static_cast<size_t>(group_.rank())]);
  int64_t largest = 0;
  for (int bucket = 0; bucket < partition_.buckets(); ++bucket) largest = std::max(largest, scratch_elements(bucket));
  for (Tensor& lane : scratch_) lane = HeapAllocator(grads_.device()).allocate({largest}, grads_.dtype());
}

size_t ExactReduction::scratch_bytes() const { return kInFlight * scratch_[0].bytes(); }

bool ExactReduction::sends_to_itself() const { return group_.rank() > 0 && group_.rank() + 1 < group_.size(); }

FlatSpan ExactReduction::sent(int bucket) const {
  FlatSpan span = partition_.bucket(bucket);
  const FlatSpan own = partition_.part(bucket, group_.rank());
  if (group_.rank() == 0)
    span.begin = own.end;
  else if (!sends_to_itself())
    span.end = own.begin;
  return span;
}

std::vector<int64_t> ExactReduction::send_counts(int bucket, size_t round) const {
  std::vector<int64_t> counts(piece_counts_.size());
  if (round >= pieces_.size()) return counts;
  for (int rank = 0; rank < group_.size(); ++rank) {
    const bool left_out = rank == group_.rank() && !sends_to_itself();
    counts[static_cast<size_t>(rank)] = left_out ? 0 : partition_.part(bucket, rank).size();
  }
  return counts;
}

std::vector<int64_t> ExactReduction::receive_counts(int bucket, size_t round) const {
  const int64_t own = partition_.part(bucket, group_.rank()).size();
  std::vector<int64_t> counts(piece_counts_.size());
  for (int rank = 0; rank < group_.size(); ++rank) {
    const bool left_out = rank == group_.rank() && !sends_to_itself();
    const bool has_one = round < piece_counts_[static_cast<size_t>(rank)];
    counts[static_cast<size_t>(rank)] = has_one && !left_out ? own : 0;
  }
  return counts;
}

int64_t ExactReduction::scratch_elements(int bucket) const {
  int64_t elements = 0;
  for (size_t round = 0; round < rounds_; ++round) elements += total(receive_counts(bucket, round));
  return elements;
}

std::vector<Pending> ExactReduction::depart(int bucket, size_t lane) {
  std::vector<Pending> pending;
  if (group_.size() == 1) return pending;
  int64_t offset = 0;
  for (size_t round = 0; round < rounds_; ++round) {
    const bool has_one = round < pieces_.size();
    const FlatSpan span = sent(bucket);
    const Tensor& piece = has_one ? pieces_[round] : grads_;
    const Tensor in = piece.flat_view(span.begin, {has_one ? span.size() : 0});
    const std::vector<int64_t> receive = receive_counts(bucket, round);
    const Tensor out = scratch_[lane].flat_view(offset, {total(receive)});
    offset += total(receive);
    pending.push_back(group_.all_to_all_async(in, send_counts(bucket, round), out, receive));
  }
  return pending;
}

void ExactReduction::arrive(const Stream& stream, int bucket, size_t lane) {
  if (grads_.device().kind == DeviceKind::meta) return;
  const FlatSpan own = partition_.part(bucket, group_.rank());
  const auto size = static_cast<int64_t>(size_of(grads_.dtype()));
  // Pieces arrive round by round; the tree wants them rank by rank.
  std::vector<std::vector<const std::byte*>> by_rank(piece_counts_.size());
  const auto* arrived = static_cast<const std::byte*>(scratch_[lane].raw());
  for (size_t round = 0; round < rounds_; ++round) {
    const std::vector<int64_t> counts = receive_counts(bucket, round);
    for (size_t rank = 0; rank < counts.size(); ++rank) {
      if (round < piece_counts_[rank]) by_rank[rank].push_back(arrived);
      arrived += counts[rank] * size;
    }
  }
  auto& mine = by_rank[static_cast<size_t>(group_.rank())];
  for (size_t round = 0; round < mine.size(); ++round) {
    mine[round] = static_cast<const std::byte*>(pieces_[round].raw()) + own.begin * size;
  }
  std::vector<const std::byte*> sources;
  for (const auto& pieces : by_rank) sources.insert(sources.end(), pieces.begin(), pieces.end());
  sum_.run(stream, grads_.dtype(), sources, own.size(), static_cast<std::byte*>(grads_.raw()) + own.begin * size);
}

}  // namespace trident
