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

/// Where the pieces of this rank's part of a bucket lie. The operations under way own it: they may outlive the
/// reduction. What is added in one round stays where it is until the last, since no rank touches a bucket's pieces
/// before all of the bucket's operations are done.
struct ExactReduction::Arrivals {
  void add(size_t round, std::span<const std::byte* const> parts) {
    for (size_t rank = 0; rank < parts.size(); ++rank) {
      if (round < piece_counts[rank]) sources[first_piece[rank] + round] = parts[rank];
    }
  }
  void sum_up() const { sum->run(stream, out.dtype(), sources, out.elements(), static_cast<std::byte*>(out.raw())); }

  Stream stream;
  std::shared_ptr<const TreeSum> sum;
  std::vector<size_t> first_piece, piece_counts;  // by rank; none of this rank's own arrive
  std::vector<const std::byte*> sources;          // in the order of the tree
  Tensor out;
  std::vector<Tensor> kept;  // what the sources and out lie in, on this rank
};

ExactReduction::ExactReduction(Communicator group, const ReductionTree& tree, const FlatPartition& partition,
                               std::vector<Tensor> pieces, Tensor grads)
    : group_(std::move(group)),
      partition_(partition),
      pieces_(std::move(pieces)),
      grads_(std::move(grads)),
      sum_(std::make_shared<const TreeSum>(tree, all_pieces(tree, group_.size()))) {
  TRIDENT_CHECK(partition_.ranks() == group_.size() && partition_.elements() == grads_.elements());
  first_piece_.push_back(0);
  for (int rank = 0; rank < group_.size(); ++rank) {
    piece_counts_.push_back(tree.subtrees(shards_of(rank, group_.size(), tree.shards())).size());
    first_piece_.push_back(first_piece_.back() + piece_counts_.back());
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

std::shared_ptr<ExactReduction::Arrivals> ExactReduction::expect(const Stream& stream, int bucket, size_t lane) const {
  const FlatSpan own = partition_.part(bucket, group_.rank());
  auto arrivals = std::make_shared<Arrivals>();
  arrivals->stream = stream;
  arrivals->sum = sum_;
  arrivals->first_piece = first_piece_;
  arrivals->piece_counts = piece_counts_;
  arrivals->piece_counts[static_cast<size_t>(group_.rank())] = 0;
  arrivals->sources.resize(first_piece_.back());
  for (size_t i = 0; i < pieces_.size(); ++i) {
    const Tensor part = pieces_[i].flat_view(own.begin, {own.size()});
    arrivals->sources[first_piece_[static_cast<size_t>(group_.rank())] + i] = static_cast<const std::byte*>(part.raw());
  }
  arrivals->out = grads_.flat_view(own.begin, {own.size()});
  arrivals->kept = pieces_;
  arrivals->kept.push_back(scratch_[lane]);
  return arrivals;
}

std::vector<Pending> ExactReduction::depart(const Stream& stream, int bucket, size_t lane) {
  std::vector<Pending> pending;
  if (group_.size() == 1 || grads_.device().kind == DeviceKind::meta) return pending;
  const auto arrivals = expect(stream, bucket, lane);
  int64_t offset = 0;
  for (size_t round = 0; round < rounds_; ++round) {
    const bool has_one = round < pieces_.size();
    const FlatSpan span = sent(bucket);
    const Tensor& piece = has_one ? pieces_[round] : grads_;
    const Tensor in = piece.flat_view(span.begin, {has_one ? span.size() : 0});
    const std::vector<int64_t> receive = receive_counts(bucket, round);
    const Tensor scratch = scratch_[lane].flat_view(offset, {total(receive)});
    offset += total(receive);
    const auto read = [arrivals, round, last = round + 1 == rounds_](std::span<const std::byte* const> parts) {
      arrivals->add(round, parts);
      if (last) arrivals->sum_up();
    };
    pending.push_back(group_.all_to_all_async(in, send_counts(bucket, round), scratch, receive, read));
  }
  return pending;
}

}  // namespace trident
