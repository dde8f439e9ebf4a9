#include "parallel/pipeline/lower.h"

#include <fmt/format.h>

#include "core/error.h"
#include "parallel/pipeline/replay.h"

namespace trident::pipeline {
namespace {

class Lowering {
 public:
  Lowering(const Schedule& schedule, const LowerOptions& options)
      : options_(options), lowered_(schedule), weights_(schedule.rank_of_stage.size()) {
    lowered_.lowered = true;
    for (auto& list : lowered_.actions) list.clear();
  }

  void append(const Action& action) {
    push(action);
    if (action.op == Op::forward && action.stage < last_stage()) transfer(Op::send_forward, action);
    if (gives_input_gradient(action.op) && action.stage > 0) transfer(Op::send_backward, action);
    if (gives_weight_gradient(action.op) && ++weights_[static_cast<size_t>(action.stage)] == lowered_.microbatches)
      complete(action.stage);
  }

  Schedule take() { return std::move(lowered_); }

 private:
  int32_t last_stage() const { return lowered_.stages() - 1; }

  void push(const Action& action) {
    lowered_.actions[static_cast<size_t>(lowered_.rank_of(action.stage))].push_back(action);
  }

  void transfer(Op op, const Action& producer) {
    const Action send{producer.stage, op, producer.microbatch};
    const Action receive = receive_of(send);
    if (lowered_.rank_of(send.stage) == lowered_.rank_of(receive.stage)) return;
    push(send);
    push(receive);
  }

  void complete(int32_t stage) {
    const bool tied = options_.tied_embedding && last_stage() > 0 && (stage == 0 || stage == last_stage());
    if (!tied) return;
    const int32_t partner = last_stage() - stage;
    if (weights_[static_cast<size_t>(partner)] < lowered_.microbatches) return;
    push({0, Op::reduce_tied, -1});
    if (lowered_.rank_of(0) != lowered_.rank_of(last_stage())) push({last_stage(), Op::reduce_tied, -1});
  }

  LowerOptions options_;
  Schedule lowered_;
  std::vector<int32_t> weights_;  // weight gradients so far, per stage
};

}  // namespace

Schedule lower(const Schedule& schedule, const LowerOptions& options) {
  TRIDENT_CHECK(!schedule.lowered, "communication is added once");
  const Replay walk = replay(schedule);
  for (size_t rank = 0; rank < schedule.actions.size(); ++rank)
    if (walk.stopped_at[rank] < schedule.actions[rank].size())
      throw Error(ErrorCode::config, "parallel/pipeline",
                  fmt::format("schedule {} cannot run: rank {} waits for ever at {}", schedule.name, rank,
                              to_string(schedule.actions[rank][walk.stopped_at[rank]])),
                  "validate() names what is wrong with it");
  Lowering lowering(schedule, options);
  for (const Replay::Step& step : walk.order) lowering.append(step.action);
  return lowering.take();
}

}  // namespace trident::pipeline
