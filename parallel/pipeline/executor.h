#pragma once

#include <deque>
#include <functional>
#include <map>
#include <span>
#include <vector>

#include "core/layer.h"
#include "parallel/comm/communicator.h"
#include "parallel/pipeline/schedule.h"

namespace trident::pipeline {

class Timeline;

/// One layer of a stage.
struct StageLayer {
  int32_t stage = 0;
  size_t index = 0;  ///< among the stage's layers
};

/// What an executor does beside computing and passing on.
struct ExecutorHooks {
  /// REDUCE_TIED: add the two gradients of the tied embedding.
  std::function<void()> reduce_tied;
  /// Before a layer's forward: its parameters are about to be read.
  std::function<void(StageLayer layer)> before_forward;
  /// The layer has added its weight gradients of this microbatch.
  std::function<void(StageLayer layer, int32_t microbatch)> weight_gradients_added;
  /// Before each action, and before any wait for its input.
  std::function<void(const Action& action)> before_action;
  /// Records every action, and every wait for a message; may be null.
  Timeline* timeline = nullptr;
};

/// Runs a lowered schedule's actions of one rank, in their order: the only loop over actions. Activations and gradients
/// between stages are tensors of one shape. A receive is posted where the schedule has it and waited for where its
/// value is used; a send is waited for before the next one on the same edge. What lives when is therefore a function of
/// the schedule alone, and a dry run on the meta device plans the memory. A schedule of forwards only keeps nothing for
/// a backward pass.
class Executor {
 public:
  /// A stage's consecutive layers, first to last. Stage 0 takes the microbatch's tokens; the last ends in the loss.
  using StageLayers = std::vector<const Layer*>;

  /// `stages` holds this rank's stages. `shape` and `dtype`: what passes between stages. `comm`: the pipeline's ranks;
  /// its rank is the schedule's. Layers outlive the executor.
  Executor(Schedule lowered, std::map<int32_t, StageLayers> stages, Communicator comm, Shape shape, DType dtype,
           ExecutorHooks hooks = {});

  void set_hooks(ExecutorHooks hooks) { hooks_ = std::move(hooks); }

  /// One step. Collective over the pipeline: every rank runs its part with as many microbatches as the schedule has.
  /// Returns the sum of the label tokens' losses by microbatch on the rank of the last stage, for which it waits; zeros
  /// elsewhere.
  std::vector<double> run(const Stream& stream, Allocator& activations, std::span<const Microbatch> microbatches);

 private:
  /// A value that another rank sends: there once `pending` is done.
  struct Arriving {
    Tensor value;
    Pending pending;
    [[nodiscard]] Tensor take();
  };
  /// One microbatch in one stage.
  struct Slot {
    Arriving input;
    Arriving output_gradient;
    Tensor output;
    Tensor input_gradient;
    std::vector<Saved> saved;  // one a layer
  };
  struct Sending {
    Tensor value;
    Pending pending;
  };
  struct Run;

  void perform(Run& run, const Action& action);
  [[nodiscard]] std::vector<double> losses_of(const Run& run) const;
  void await_input(Run& run, const Action& action) const;
  void forward(Run& run, const Action& action);
  void backward(Run& run, const Action& action);
  void backward_weight(Run& run, const Action& action);
  void weight_gradients_added(const Action& action, size_t layer) const;
  void send(Run& run, const Action& action, Tensor value);
  [[nodiscard]] Arriving receive(Run& run, const Action& action) const;
  [[nodiscard]] bool local(int32_t stage) const { return schedule_.rank_of(stage) == comm_.rank(); }
  [[nodiscard]] Slot& slot(Run& run, int32_t stage, int32_t microbatch) const;

  Schedule schedule_;
  std::map<int32_t, StageLayers> stages_;
  Communicator comm_;
  Shape shape_;
  DType dtype_;
  ExecutorHooks hooks_;
  bool forward_only_ = false;
};

}  // namespace trident::pipeline
