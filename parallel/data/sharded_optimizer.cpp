#include "parallel/data/sharded_optimizer.h"

#include <algorithm>
#include <cmath>

#include "core/memory.h"
#include "kernels/elementwise.h"
#include "parallel/data/exact_sums.h"
#include "parallel/data/gather_bucket.h"

namespace trident {
namespace {

static_assert(FlatPartition::kCell % kSquareCell == 0 && ParameterStorage::kGroupAlignment % FlatPartition::kCell == 0,
              "the norm's terms would depend on the number of ranks, or on the other groups of the rank");

FlatSpan intersection(FlatSpan a, FlatSpan b) {
  const int64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

FlatSpan span_of(const Parameter& parameter) {
  return {parameter.flat_offset, parameter.flat_offset + parameter.local_shape().elements()};
}

Tensor view(const Tensor& flat, FlatSpan span) { return flat.flat_view(span.begin, {span.size()}); }

FlatSpan placed_at(int64_t offset, FlatSpan span) { return {offset, offset + span.size()}; }

OptimizerSharding one_rank(const ParameterStorage& storage) {
  const int64_t elements = storage.grads().elements();
  return {
      .partition = FlatPartition(elements, 1, std::max<int64_t>(1, elements)), .model_groups = {}, .counts_here = {}};
}

}  // namespace

ShardedOptimizer::ShardedOptimizer(const Stream& stream, ParameterStorage& storage, const AdamWOptions& options)
    : ShardedOptimizer(stream, storage, options, one_rank(storage)) {}

ShardedOptimizer::ShardedOptimizer(const Stream& stream, ParameterStorage& storage, const AdamWOptions& options,
                                   OptimizerSharding sharding)
    : storage_(storage), options_(options), sharding_(std::move(sharding)) {
  const FlatPartition& partition = sharding_.partition;
  TRIDENT_CHECK(partition.elements() == storage.grads().elements() && partition.ranks() == sharding_.dp.size());
  TRIDENT_CHECK(sharding_.counts_here.empty() || sharding_.counts_here.size() == storage.parameters().size());
  reduced_ = partition.owned(sharding_.dp.rank());
  stepped_ = reduced_;
  if (sharding_.stage == ZeroStage::replicated) stepped_ = {{0, partition.elements()}};
  for (const FlatSpan span : stepped_) ranges_.push_back(decay_ranges(span));
  gathering_.resize(static_cast<size_t>(partition.buckets()));
  allocate_state(stream);
}

void ShardedOptimizer::allocate_state(const Stream& stream) {
  int64_t elements = 0;
  for (const FlatSpan span : stepped_) elements += span.size();
  const DType dtype = storage_.grads().dtype();
  const Device device = storage_.grads().device();
  exp_avg_ = allocate_zeroed(device, {elements}, dtype);
  exp_avg_sq_ = allocate_zeroed(device, {elements}, dtype);
  const bool separate = storage_.compute_dtype() != dtype;
  if (!separate || sharding_.stage == ZeroStage::replicated || sharding_.dp.size() == 1) return;
  master_ = allocate_zeroed(device, {elements}, dtype);
  for (const FlatSpan span : stepped_)
    copy(stream, view(storage_.master(), span), view(master_, placed_at(state_offset(span), span)));
  stream.synchronize();  // the memory goes back
  storage_.release_master();
}

std::vector<FlatRange> ShardedOptimizer::decay_ranges(FlatSpan span) const {
  std::vector<FlatRange> ranges;
  for (const Parameter* parameter : storage_.parameters()) {
    const FlatSpan part = intersection(span, span_of(*parameter));
    if (part.size() == 0) continue;
    const int64_t begin = part.begin - span.begin, end = part.end - span.begin;
    if (!ranges.empty() && ranges.back().end == begin && ranges.back().decays == parameter->decays())
      ranges.back().end = end;
    else
      ranges.push_back({begin, end, parameter->decays()});
  }
  return ranges;
}

int64_t ShardedOptimizer::state_offset(FlatSpan span) const {
  int64_t offset = 0;
  for (const FlatSpan owned : stepped_) {
    if (owned.begin <= span.begin && span.end <= owned.end) return offset + span.begin - owned.begin;
    offset += owned.size();
  }
  TRIDENT_CHECK(false, "not this rank's");
  return 0;
}

Tensor ShardedOptimizer::master_view(FlatSpan span) const {
  return master_.defined() ? view(master_, placed_at(state_offset(span), span)) : view(storage_.master(), span);
}

double ShardedOptimizer::gradient_norm(const Stream& stream) const {
  std::vector<FlatRange> ranges;
  const auto parameters = storage_.parameters();
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (!sharding_.counts_here.empty() && !sharding_.counts_here[i]) continue;
    for (const FlatSpan owned : reduced_) {
      const FlatSpan part = intersection(owned, span_of(*parameters[i]));
      if (part.size() > 0) ranges.push_back({part.begin, part.end});
    }
  }
  ExactSum sum;
  add_sums_of_squares(stream, storage_.grads(), ranges, sum);
  all_reduce(sharding_.dp, sum);
  for (const Communicator& group : sharding_.model_groups) all_reduce(group, sum);
  return std::sqrt(sum.value());
}

void ShardedOptimizer::step(const Stream& stream, int64_t step, double lr, double grad_scale) {
  wait_parameters();
  const AdamWStep arguments{lr, options_.beta1, options_.beta2, options_.eps, options_.weight_decay, grad_scale, step};
  for (size_t i = 0; i < stepped_.size(); ++i) step_span(stream, arguments, stepped_[i], ranges_[i]);
  if (sharding_.stage == ZeroStage::optimizer_state) start_gathering();
}

void ShardedOptimizer::step_span(const Stream& stream, const AdamWStep& arguments, FlatSpan span,
                                 std::span<const FlatRange> ranges) {
  const FlatSpan state = placed_at(state_offset(span), span);
  Tensor master = master_view(span), compute;
  if (storage_.compute_dtype() != master.dtype()) compute = view(storage_.values(), span);
  Tensor exp_avg = view(exp_avg_, state), exp_avg_sq = view(exp_avg_sq_, state);
  adamw(stream, arguments, ranges, master, view(storage_.grads(), span), exp_avg, exp_avg_sq, compute);
}

void ShardedOptimizer::start_gathering() {
  for (size_t bucket = 0; bucket < gathering_.size(); ++bucket) {
    gathering_[bucket] = gather_bucket(sharding_.dp, sharding_.partition, static_cast<int>(bucket), storage_.values());
  }
}

void ShardedOptimizer::wait_parameters(FlatSpan span) {
  for (size_t bucket = 0; bucket < gathering_.size(); ++bucket) {
    if (intersection(span, sharding_.partition.bucket(static_cast<int>(bucket))).size() == 0) continue;
    for (Pending& pending : gathering_[bucket]) pending.wait();
    gathering_[bucket].clear();
  }
}

void ShardedOptimizer::wait_parameters() { wait_parameters({0, sharding_.partition.elements()}); }

std::vector<Tensor> ShardedOptimizer::state() const {
  if (!master_.defined()) return {exp_avg_, exp_avg_sq_};
  return {exp_avg_, exp_avg_sq_, master_};
}

size_t ShardedOptimizer::bytes() const {
  size_t bytes = 0;
  for (const Tensor& tensor : state()) bytes += tensor.bytes();
  return bytes;
}

void ShardedOptimizer::refresh_compute_weights(const Stream& stream) {
  wait_parameters();
  if (storage_.compute_dtype() != storage_.grads().dtype()) {
    for (const FlatSpan span : stepped_) {
      Tensor compute = view(storage_.values(), span);
      cast(stream, master_view(span), compute);
    }
  }
  if (sharding_.stage == ZeroStage::optimizer_state) start_gathering();
}

std::vector<std::pair<FlatSpan, bool>> ShardedOptimizer::held_spans() const {
  std::vector<std::pair<FlatSpan, bool>> spans;
  for (const FlatSpan held : stepped_) {
    int64_t at = held.begin;
    for (const FlatSpan reduced : reduced_) {
      const FlatSpan mine = intersection(held, reduced);
      if (mine.size() == 0) continue;
      if (at < mine.begin) spans.emplace_back(FlatSpan{at, mine.begin}, false);
      spans.emplace_back(mine, true);
      at = mine.end;
    }
    if (at < held.end) spans.emplace_back(FlatSpan{at, held.end}, false);
  }
  return spans;
}

std::vector<OwnedPiece> ShardedOptimizer::pieces() const {
  std::vector<OwnedPiece> pieces;
  const auto spans = held_spans();
  for (const Parameter* parameter : storage_.parameters()) {
    for (const auto& [span, reduced_here] : spans) {
      const FlatSpan part = intersection(span, span_of(*parameter));
      if (part.size() == 0) continue;
      const FlatSpan state = placed_at(state_offset(part), part);
      pieces.push_back({parameter, part.begin - parameter->flat_offset, part.size(), master_view(part),
                        view(exp_avg_, state), view(exp_avg_sq_, state), reduced_here});
    }
  }
  return pieces;
}

}  // namespace trident
