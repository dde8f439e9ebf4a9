#include "train/rank_model.h"

#include <algorithm>
#include <utility>

namespace trident {
namespace {

ExactSum sum_of(const std::vector<double>& losses) {
  ExactSum sum;
  for (const double loss : losses) sum.add(loss);
  return sum;
}

// Gradients that several ranks of a node reduce lie where all of them reach: nothing is copied on the way.
FlatAllocator shared_by(const Communicator& dp, Device device) {
  if (dp.size() == 1 || dp.is_meta() || device.kind != DeviceKind::cpu) return {};
  return [dp](int64_t elements, DType dtype) { return dp.allocate_shared({elements}, dtype); };
}

}  // namespace

RankModel::RankModel(const ModelConfig& config, const EngineOptions& options, const DeviceMesh& mesh, Stream stream)
    : stream_(std::move(stream)),
      pp_(mesh.axis(Axis::pp)),
      tied_(config.tie_word_embeddings),
      training_schedule_(options.layout.training_schedule(mesh.coordinates().dp, tied_)),
      stages_(training_schedule_.stages_of(pp_.rank())) {
  const JobLayout& layout = options.layout;
  ModelPart part;
  part.tp = join_tensor_parallel(mesh.axis(Axis::tp), config.num_key_value_heads, layout.sequence_parallel);
  for (const int32_t stage : stages_) part.ranges.push_back(layout.layers_of(config, stage));
  part.linear = options.linear;
  part.allocate = shared_by(mesh.axis(Axis::dp), stream_.device());
  model_.emplace(config, options.compute, options.recompute, stream_, std::move(part));
  training_.emplace(make_executor(training_schedule_, options));
  evaluation_.emplace(make_executor(layout.evaluation_schedule(evaluation_microbatches(layout)), options));
}

pipeline::Executor RankModel::make_executor(const pipeline::Schedule& schedule, const EngineOptions& options) const {
  std::map<int32_t, pipeline::Executor::StageLayers> layers;
  for (size_t i = 0; i < stages_.size(); ++i) layers[stages_[i]] = model_->layers(i);
  const TensorParallel& tp = model_->tensor_parallel();
  const int64_t rows = options.micro_batch_size * options.sequence_length / (tp.cuts_rows() ? tp.comm.size() : 1);
  return {schedule, std::move(layers), pp_, {rows, model_->config().hidden_size}, options.compute};
}

size_t RankModel::layer_number(pipeline::StageLayer layer) const {
  size_t number = layer.index;
  for (size_t i = 0; stages_[i] != layer.stage; ++i) number += model_->layers(i).size();
  return number;
}

void RankModel::set_hooks(const pipeline::ExecutorHooks& hooks) {
  training_->set_hooks(hooks);
  pipeline::ExecutorHooks reading;
  reading.before_forward = hooks.before_forward;
  reading.before_action = hooks.before_action;
  evaluation_->set_hooks(reading);
}

int32_t RankModel::evaluation_microbatches(const JobLayout& layout) {
  return layout.mesh.pp == 1 ? 1 : 2 * layout.mesh.pp;
}

ExactSum RankModel::train(Allocator& activations, std::span<const Microbatch> microbatches) {
  return sum_of(training_->run(stream_, activations, microbatches));
}

ExactSum RankModel::evaluate(Allocator& activations, std::span<const Microbatch> microbatches) {
  return sum_of(evaluation_->run(stream_, activations, microbatches));
}

}  // namespace trident
