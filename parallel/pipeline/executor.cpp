#include "parallel/pipeline/executor.h"

#include <algorithm>
#include <utility>

#include "parallel/pipeline/timeline.h"

namespace trident::pipeline {
namespace {

// Messages of one stage in one direction have their own tag, so that stages that share two ranks do not mix.
int tag_of(const Action& send) { return 2 * send.stage + (send.op == Op::send_forward ? 0 : 1); }

int32_t receiver_stage(const Action& send) { return receive_of(send).stage; }

}  // namespace

/// What lives during one step.
struct Executor::Run {
  Run(const Stream& stream, Allocator& activations, std::span<const Microbatch> given)
      : context{stream, activations},
        microbatches(given),
        losses(activations.allocate({std::ssize(given)}, DType::fp64)) {}

  Context context;
  std::span<const Microbatch> microbatches;
  Tensor losses;  // of the microbatches: [microbatches] fp64, written on the rank of the last stage
  std::map<std::pair<int32_t, int32_t>, Slot> slots;  // by stage and microbatch
  std::map<int, Sending> sending;                     // the newest message of each tag
};

Tensor Executor::Arriving::take() {
  pending.wait();
  pending = {};
  return std::exchange(value, {});
}

Executor::Executor(Schedule lowered, std::map<int32_t, StageLayers> stages, Communicator comm, Shape shape, DType dtype,
                   ExecutorHooks hooks)
    : schedule_(std::move(lowered)),
      stages_(std::move(stages)),
      comm_(std::move(comm)),
      shape_(shape),
      dtype_(dtype),
      hooks_(std::move(hooks)) {
  TRIDENT_CHECK(schedule_.lowered && schedule_.ranks == comm_.size());
  for (int32_t stage = 0; stage < schedule_.stages(); ++stage)
    TRIDENT_CHECK(local(stage) == stages_.contains(stage), "layers of stage " + std::to_string(stage));
  const auto& own = schedule_.actions[static_cast<size_t>(comm_.rank())];
  forward_only_ = std::none_of(own.begin(), own.end(), [](const Action& a) { return gives_input_gradient(a.op); });
}

std::vector<double> Executor::run(const Stream& stream, Allocator& activations,
                                  std::span<const Microbatch> microbatches) {
  TRIDENT_CHECK(std::ssize(microbatches) == schedule_.microbatches);
  Run run(stream, activations, microbatches);
  for (const Action& action : schedule_.actions[static_cast<size_t>(comm_.rank())]) perform(run, action);
  for (auto& [tag, sending] : run.sending) sending.pending.wait();
  return losses_of(run);
}

// The step's only wait for the device.
std::vector<double> Executor::losses_of(const Run& run) const {
  std::vector<double> losses(run.microbatches.size(), 0.0);
  if (!local(schedule_.stages() - 1) || run.losses.raw() == nullptr) return losses;
  const Tensor host = to_host(run.context.stream, run.losses);
  std::copy_n(host.data<double>(), losses.size(), losses.begin());
  return losses;
}

Executor::Slot& Executor::slot(Run& run, int32_t stage, int32_t microbatch) const {
  return run.slots[{stage, microbatch}];
}

// Before the action, so that its time in the timeline is its own.
void Executor::await_input(Run& run, const Action& action) const {
  const bool forward = action.op == Op::forward;
  if (!forward && !gives_input_gradient(action.op)) return;
  const int32_t source = action.stage + (forward ? -1 : 1);
  if (source < 0 || source == schedule_.stages() || local(source)) return;
  const Timeline::Span span(hooks_.timeline, action, Timeline::Kind::wait);
  Slot& current = slot(run, action.stage, action.microbatch);
  (forward ? current.input : current.output_gradient).pending.wait();
}

void Executor::perform(Run& run, const Action& action) {
  if (hooks_.before_action) hooks_.before_action(action);
  await_input(run, action);
  const Timeline::Span span(hooks_.timeline, action);
  switch (action.op) {
    case Op::forward: return forward(run, action);
    case Op::backward:
    case Op::backward_input: return backward(run, action);
    case Op::backward_weight: return backward_weight(run, action);
    case Op::send_forward: {
      Tensor output = std::exchange(slot(run, action.stage, action.microbatch).output, {});
      return send(run, action, std::move(output));
    }
    case Op::send_backward: {
      Tensor gradient = std::exchange(slot(run, action.stage, action.microbatch).input_gradient, {});
      return send(run, action, std::move(gradient));
    }
    case Op::recv_forward: slot(run, action.stage, action.microbatch).input = receive(run, action); return;
    case Op::recv_backward: slot(run, action.stage, action.microbatch).output_gradient = receive(run, action); return;
    case Op::reduce_tied:
      if (hooks_.reduce_tied) hooks_.reduce_tied();
      return;
  }
}

void Executor::forward(Run& run, const Action& action) {
  const StageLayers& layers = stages_.at(action.stage);
  Slot& current = slot(run, action.stage, action.microbatch);
  run.context.microbatch = &run.microbatches[static_cast<size_t>(action.microbatch)];
  run.context.loss_sum = run.losses.flat_view(action.microbatch, {1});
  Tensor x = action.stage == 0 ? run.context.microbatch->tokens : current.input.take();
  if (!forward_only_) current.saved.resize(layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    if (hooks_.before_forward) hooks_.before_forward({action.stage, i});
    Saved discarded;
    x = layers[i]->forward(run.context, x, forward_only_ ? discarded : current.saved[i]);
    comm_.progress();
  }
  if (action.stage + 1 == schedule_.stages()) return;
  if (local(action.stage + 1))
    slot(run, action.stage + 1, action.microbatch).input.value = std::move(x);
  else
    current.output = std::move(x);
}

void Executor::backward(Run& run, const Action& action) {
  const StageLayers& layers = stages_.at(action.stage);
  Slot& current = slot(run, action.stage, action.microbatch);
  run.context.microbatch = &run.microbatches[static_cast<size_t>(action.microbatch)];
  Tensor gradient = current.output_gradient.take();
  for (size_t i = layers.size(); i-- > 0;) {
    gradient = action.op == Op::backward ? layers[i]->backward(run.context, gradient, current.saved[i])
                                         : layers[i]->backward_input(run.context, gradient, current.saved[i]);
    if (action.op == Op::backward) weight_gradients_added(action, i);
    comm_.progress();
  }
  if (action.op == Op::backward) current.saved.clear();
  if (action.stage == 0) return;
  if (local(action.stage - 1))
    slot(run, action.stage - 1, action.microbatch).output_gradient.value = std::move(gradient);
  else
    current.input_gradient = std::move(gradient);
}

void Executor::backward_weight(Run& run, const Action& action) {
  const StageLayers& layers = stages_.at(action.stage);
  Slot& current = slot(run, action.stage, action.microbatch);
  run.context.microbatch = &run.microbatches[static_cast<size_t>(action.microbatch)];
  for (size_t i = layers.size(); i-- > 0;) {
    layers[i]->backward_weight(run.context, current.saved[i]);
    weight_gradients_added(action, i);
    comm_.progress();
  }
  current.saved.clear();
}

void Executor::weight_gradients_added(const Action& action, size_t layer) const {
  if (hooks_.weight_gradients_added) hooks_.weight_gradients_added({action.stage, layer}, action.microbatch);
}

void Executor::send(Run& run, const Action& action, Tensor value) {
  TRIDENT_CHECK(value.defined(), "nothing to send at " + to_string(action));
  const int tag = tag_of(action);
  if (const auto before = run.sending.find(tag); before != run.sending.end()) {
    const Timeline::Span span(hooks_.timeline, action, Timeline::Kind::wait);
    before->second.pending.wait();
    run.sending.erase(before);
  }
  Pending pending = comm_.send_async(value, schedule_.rank_of(receiver_stage(action)), tag);
  run.sending.emplace(tag, Sending{std::move(value), std::move(pending)});
}

Executor::Arriving Executor::receive(Run& run, const Action& action) const {
  const Action sent = send_of(action);
  Tensor value = run.context.activations.allocate(shape_, dtype_);
  Pending pending = comm_.recv_async(value, schedule_.rank_of(sent.stage), tag_of(sent));
  return {std::move(value), std::move(pending)};
}

}  // namespace trident::pipeline
