#include "train/step_gradients.h"

#include <algorithm>
#include <utility>

#include "core/memory.h"

namespace trident {
namespace {

// Large enough that a message's start costs nothing beside it, small enough that several are under way in a backward
// pass: 4 MiB of fp32.
constexpr int64_t kBucketElements = int64_t{1} << 20;

void move(const Stream& stream, const Tensor& from, const Tensor& to) {
  copy(stream, from, to);
  set_zero(stream, from);
}

}  // namespace

StepGradients::StepGradients(RankModel& rank, const EngineOptions& options, const DeviceMesh& mesh, Stream stream)
    : rank_(rank),
      stream_(std::move(stream)),
      gathers_(options.layout.zero_stage == ZeroStage::replicated),
      microbatch_tokens_(options.micro_batch_size * options.sequence_length),
      share_(options.layout.share(mesh.coordinates().dp)),
      partition_(rank.model().storage().grads().elements(), mesh.shape().dp, kBucketElements),
      buckets_(mesh.axis(Axis::dp), options.layout.reduction, ReductionTree(options.layout.logical_shards), partition_,
               spans_of(rank.model().groups(), partition_.elements()), rank.model().storage().grads()) {
  if (!rank_.sums_tied_ends()) return;
  const Communicator& pp = mesh.axis(Axis::pp);
  const bool is_end = rank_.model().tied_group().has_value();
  if (!pp.is_meta()) ends_ = pp.split(is_end ? 0 : -1, pp.rank(), "tied");
  if (!is_end || share_.shard_ends.size() == 1) return;
  for (size_t i = 0; i < share_.shard_ends.size(); ++i) waiting_.push_back(allocate_like(table_gradient()));
}

Tensor StepGradients::table_gradient() const {
  return rank_.model().groups().at(rank_.model().tied_group().value())->grad;
}

void StepGradients::begin() {
  rank_.model().storage().zero_gradients(stream_);
  next_shard_.assign(rank_.model().layers().size(), 0);
}

void StepGradients::weight_gradients_added(pipeline::StageLayer layer, int32_t microbatch) {
  const size_t number = rank_.layer_number(layer);
  size_t& shard = next_shard_[number];
  if (microbatch == share_.shard_ends[shard]) {
    for (const size_t group : rank_.model().groups_of(number)) complete_group(group);
    const bool embedding = layer.stage == 0 && layer.index == 0;
    const bool head =
        layer.stage + 1 == rank_.training_schedule().stages() && number + 1 == rank_.model().layers().size();
    if (rank_.model().config().tie_word_embeddings && (embedding || head)) tied_end_done(embedding, shard);
    ++shard;
  }
  buckets_.progress();
}

void StepGradients::complete_group(size_t group) {
  const Model& model = rank_.model();
  for (const Parameter& member : model.groups()[group]->members) sum_partial_gradient(member, model.tensor_parallel());
  buckets_.ready(stream_, group);
}

void StepGradients::tied_end_done(bool embedding, size_t shard) {
  Tensor table = table_gradient();
  if (!rank_.sums_tied_ends()) {
    if (!embedding) return;
    rank_.model().complete_table_gradient(stream_, table);
    complete_group(rank_.model().tied_group().value());
  } else if (!waiting_.empty()) {
    // Both ends on one rank: the head's came first and waits already.
    if (embedding && rank_.model().has_both_ends())
      rank_.model().complete_table_gradient(stream_, waiting_[shard]);
    else
      move(stream_, table, waiting_[shard]);
  }
}

void StepGradients::reduce_tied() {
  const size_t group = rank_.model().tied_group().value();
  Tensor table = table_gradient();
  if (waiting_.empty()) {
    rank_.model().complete_table_gradient(stream_, table);
    ends_.all_reduce(table);
    complete_group(group);
  }
  for (const Tensor& waiting : waiting_) {
    ends_.all_reduce(waiting);
    move(stream_, waiting, table);
    complete_group(group);
  }
}

void StepGradients::finish() {
  buckets_.finish(stream_);
  if (gathers_) buckets_.gather();
}

size_t StepGradients::gradient_bytes() const {
  size_t bytes = buckets_.buffers() * rank_.model().storage().grads().bytes();
  for (const Tensor& waiting : waiting_) bytes += waiting.bytes();
  return bytes + touched_bytes();
}

std::vector<Tensor> StepGradients::memory() const {
  std::vector<Tensor> tensors = buckets_.waiting_sums();
  tensors.push_back(rank_.model().storage().grads());
  tensors.insert(tensors.end(), waiting_.begin(), waiting_.end());
  const Tensor rows = rank_.model().embedding_gradient_rows();
  if (rows.defined()) tensors.push_back(rows);
  return tensors;
}

// The embedding's part of a tied gradient (TouchedRows): a row for each token of a shard, at most the table.
size_t StepGradients::touched_bytes() const {
  if (!rank_.model().has_both_ends()) return 0;
  int64_t most = 0, last_end = -1;
  for (const int32_t end : share_.shard_ends) most = std::max(most, end - std::exchange(last_end, end));
  const Tensor table = table_gradient();
  const int64_t rows = std::min(table.dim(0), most * microbatch_tokens_);
  return static_cast<size_t>(rows * table.dim(1)) * size_of(table.dtype());
}

}  // namespace trident
