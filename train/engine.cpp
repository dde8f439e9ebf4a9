#include "train/engine.h"

#include <algorithm>
#include <utility>

#include "checkpoint/manifest.h"
#include "checkpoint/snapshot.h"
#include "core/memory.h"
#include "parallel/data/exact_sums.h"

namespace trident {
namespace {

size_t shared_bytes(const DryRun& plan) { return std::max(plan.training.total_bytes, plan.evaluation.total_bytes); }

// Replicated parameters count in the gradient norm on one rank of those that hold them.
std::vector<bool> counts_here(const Model& model) {
  std::vector<bool> counts;
  for (const Parameter* parameter : model.storage().parameters())
    counts.push_back(copy_number(*parameter, model.tensor_parallel()) == 0);
  return counts;
}

OptimizerSharding sharding_of(const EngineOptions& options, const DeviceMesh& mesh, const FlatPartition& partition,
                              const Model& model) {
  return {mesh.axis(Axis::dp),
          options.layout.zero_stage,
          partition,
          {mesh.axis(Axis::tp), mesh.axis(Axis::pp)},
          counts_here(model)};
}

std::vector<Microbatch> meta_microbatches(const EngineOptions& options, int64_t count) {
  HeapAllocator meta(Device::meta());
  const Shape shape{options.micro_batch_size, options.sequence_length};
  const Microbatch one{meta.allocate(shape, DType::int32), meta.allocate(shape, DType::int32), 1.0};
  return std::vector<Microbatch>(static_cast<size_t>(count), one);
}

}  // namespace

int copy_number(const Parameter& parameter, const TensorParallel& tp) {
  if (parameter.tied_copy) return -1;
  if (!parameter.sharded()) return tp.comm.rank();
  return parameter.gradient_sum == GradientSum::replicas ? tp.replicas.rank() : 0;
}

DryRun dry_run(const ModelConfig& config, const EngineOptions& options, int rank, const Stream& meta,
               int snapshot_buffers) {
  const DeviceMesh mesh = DeviceMesh::meta(options.layout.mesh, rank, options.layout.order);
  RankModel rank_model(config, options, mesh, meta);
  const StepGradients gradients(rank_model, options, mesh, meta);
  ParameterStorage& storage = rank_model.model().storage();
  DryRun result;
  result.memory.parameters = storage.values().bytes();
  const ShardedOptimizer optimizer(meta, storage, {},
                                   sharding_of(options, mesh, gradients.partition(), rank_model.model()));
  if (storage.master().defined() && storage.compute_dtype() != storage.master().dtype())
    result.memory.parameters += storage.master().bytes();
  result.memory.optimizer = optimizer.bytes();
  result.memory.snapshots = static_cast<size_t>(snapshot_buffers) * kStateKinds * optimizer.state().front().bytes();
  result.memory.gradients = gradients.gradient_bytes();
  result.memory.communication = gradients.scratch_bytes();
  {
    ArenaRecorder recorder;
    (void)rank_model.train(recorder,
                           meta_microbatches(options, options.layout.share(mesh.coordinates().dp).microbatches));
    result.training = recorder.plan();
  }
  {
    ArenaRecorder recorder;
    (void)rank_model.evaluate(recorder, meta_microbatches(options, RankModel::evaluation_microbatches(options.layout)));
    result.evaluation = recorder.plan();
  }
  result.memory.activations = shared_bytes(result);
  return result;
}

Engine::Engine(const ModelConfig& config, EngineOptions options, const DeviceMesh& mesh, const DryRun& plan,
               Stream stream, pipeline::Timeline* timeline)
    : options_(std::move(options)),
      mesh_(mesh),
      stream_(std::move(stream)),
      rank_(config, options_, mesh_, stream_),
      gradients_(rank_, options_, mesh_, stream_),
      current_(rank_.model().layers().size(), true),
      timeline_(timeline),
      training_(plan.training, allocate_memory(stream_.device(), shared_bytes(plan))),
      evaluation_(plan.evaluation, training_.memory()) {
  rank_.set_hooks(hooks());
}

pipeline::ExecutorHooks Engine::hooks() {
  pipeline::ExecutorHooks hooks;
  hooks.before_forward = [this](pipeline::StageLayer layer) { before_forward(layer); };
  hooks.weight_gradients_added = [this](pipeline::StageLayer layer, int32_t microbatch) {
    gradients_.weight_gradients_added(layer, microbatch);
  };
  hooks.reduce_tied = [this] { gradients_.reduce_tied(); };
  hooks.timeline = timeline_;
  return hooks;
}

void Engine::set_before_action(std::function<void(const pipeline::Action&)> before_action) {
  pipeline::ExecutorHooks changed = hooks();
  changed.before_action = std::move(before_action);
  rank_.set_hooks(changed);
}

void Engine::start_optimizer(const AdamWOptions& options) {
  optimizer_.emplace(stream_, rank_.model().storage(), options,
                     sharding_of(options_, mesh_, gradients_.partition(), rank_.model()));
}

double Engine::forward_backward(std::span<const Microbatch> microbatches) {
  training_.rewind();
  gradients_.begin();
  const ExactSum losses = rank_.train(training_, microbatches);
  gradients_.finish();
  own_loss_ = losses.value();
  return sum_over_ranks(losses);
}

ExactSum Engine::forward(std::span<const Microbatch> microbatches) {
  evaluation_.rewind();
  return rank_.evaluate(evaluation_, microbatches);
}

double Engine::sum_over_ranks(ExactSum losses) const {
  all_reduce(mesh_.axis(Axis::pp), losses);
  all_reduce(mesh_.axis(Axis::dp), losses);
  return losses.value();
}

void Engine::step(int64_t step, double lr, double grad_scale) {
  optimizer_->step(stream_, step, lr, grad_scale);
  current_.assign(current_.size(), false);
}

void Engine::refresh_compute_weights() {
  optimizer_->refresh_compute_weights(stream_);
  current_.assign(current_.size(), false);
}

void Engine::wait_parameters() {
  if (optimizer_) optimizer_->wait_parameters();
  current_.assign(current_.size(), true);
}

MemoryEstimate Engine::resident() const {
  const auto sum = [](const std::vector<Tensor>& tensors) {
    size_t bytes = 0;
    for (const Tensor& tensor : tensors) bytes += resident_bytes(tensor);
    return bytes;
  };
  const ParameterStorage& storage = rank_.model().storage();
  MemoryEstimate found;
  found.parameters = sum({storage.values()});
  if (storage.master().defined() && storage.master().raw() != storage.values().raw())
    found.parameters += sum({storage.master()});
  found.gradients = sum(gradients_.memory());
  if (optimizer_) found.optimizer = sum(optimizer_->state());
  const auto bytes = static_cast<int64_t>(training_.memory()->bytes());
  found.activations = sum({Tensor(training_.memory(), 0, {bytes / 4}, DType::int32)});
  return found;
}

void Engine::before_forward(pipeline::StageLayer layer) {
  const size_t number = rank_.layer_number(layer);
  if (current_[number]) return;
  const Model& model = rank_.model();
  std::vector<size_t> groups = model.groups_of(number);
  // Embedding and tied head read the table, which neither has for itself.
  if (const auto tied = model.tied_group()) groups.push_back(*tied);
  for (const size_t group : groups) {
    for (const Parameter& member : model.groups()[group]->members)
      optimizer_->wait_parameters({member.flat_offset, member.flat_offset + member.local_shape().elements()});
  }
  current_[number] = true;
}

}  // namespace trident
