#include "train/engine.h"

#include <algorithm>

namespace trident {
namespace {

Microbatch meta_microbatch(const EngineOptions& options) {
  HeapAllocator meta(Device::meta());
  const Shape shape{options.micro_batch_size, options.sequence_length};
  return {meta.allocate(shape, DType::int32), meta.allocate(shape, DType::int32), 1.0};
}

size_t shared_bytes(const DryRun& plan) { return std::max(plan.training.total_bytes, plan.evaluation.total_bytes); }

}  // namespace

DryRun dry_run(const ModelConfig& config, const EngineOptions& options, const Stream& meta) {
  const Model model(config, options.compute, options.recompute, meta);
  const Microbatch microbatch = meta_microbatch(options);
  DryRun result;
  {
    ArenaRecorder recorder;
    Context context{meta, recorder, &microbatch};
    model.forward_backward(context);
    result.training = recorder.plan();
  }
  {
    ArenaRecorder recorder;
    Context context{meta, recorder, &microbatch};
    model.forward(context);
    result.evaluation = recorder.plan();
  }
  const ParameterStorage& storage = model.storage();
  const size_t master = storage.master().bytes();
  const bool separate_master = storage.compute_dtype() != accumulation_dtype(storage.compute_dtype());
  result.memory = {storage.values().bytes() + (separate_master ? master : 0), storage.grads().bytes(), 2 * master,
                   shared_bytes(result)};
  return result;
}

Engine::Engine(const ModelConfig& config, const EngineOptions& options, const DryRun& plan, const Stream& stream)
    : stream_(stream),
      model_(config, options.compute, options.recompute, stream),
      training_(plan.training, map_memory(shared_bytes(plan))),
      evaluation_(plan.evaluation, training_.memory()) {}

double Engine::forward_backward(const Microbatch& microbatch) {
  training_.rewind();
  Context context{stream_, training_, &microbatch};
  model_.forward_backward(context);
  return context.loss_sum;
}

double Engine::forward(const Microbatch& microbatch) {
  evaluation_.rewind();
  Context context{stream_, evaluation_, &microbatch};
  model_.forward(context);
  return context.loss_sum;
}

}  // namespace trident
