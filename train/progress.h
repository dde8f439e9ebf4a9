#pragma once

#include <cstdint>
#include <string_view>

#include "parallel/comm/progress.h"
#include "parallel/pipeline/action.h"

namespace trident {

struct RankHoldings;

/// What a rank is at, from its start to its end.
enum class TrainPhase : uint8_t {
  starting,
  resuming,
  data,
  forward_backward,
  optimizer,
  exchange,
  checkpoint,
  evaluation,
  sampling,
  ending,
};
inline constexpr int kTrainPhases = 10;

[[nodiscard]] constexpr std::string_view to_string(TrainPhase phase) {
  constexpr std::string_view names[] = {"start",     "resume",   "data",       "forward and backward",
                                        "optimizer", "exchange", "checkpoint", "evaluation",
                                        "sample",    "end"};
  return names[static_cast<size_t>(phase)];
}

/// Told by the training thread itself where it is, so that whoever watches sees a thread that stands still. As a
/// communicator's sink it sees every operation too. Must be quick: it is called many times a step.
class TrainProgress : public ProgressSink {
 public:
  /// `step` counts from 1: the one being worked on, or, from the checkpoint on, just done. Steps and, within a step,
  /// phases follow one another in this order.
  virtual void phase(TrainPhase phase, int64_t step) = 0;
  /// Once, when there is something to train: where it lies as long as training goes on.
  virtual void holds(const RankHoldings& holdings) { (void)holdings; }
  virtual void action(const pipeline::Action& action) = 0;
  /// Training goes on from the state after `step`; 0: it starts.
  virtual void resumed(int64_t step) = 0;
  /// `busy_seconds`: what this rank worked, without waiting for others.
  virtual void step_done(int64_t step, double loss, double busy_seconds) = 0;
  /// This rank's part of the state after `step` is where a restart finds it.
  virtual void committed(int64_t step) = 0;
  /// Whether a checkpoint may still be made visible: not where others may have gone on without this node. By any
  /// thread.
  [[nodiscard]] virtual bool may_commit() const = 0;
};

}  // namespace trident
