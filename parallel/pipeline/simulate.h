#pragma once

#include <cstdint>
#include <vector>

#include "parallel/pipeline/schedule.h"

namespace trident::pipeline {

/// What one microbatch costs on one stage, in any unit of time. A full backward costs input + weight.
struct StageCost {
  double forward = 1;
  double input = 1;
  double weight = 1;
  [[nodiscard]] double total() const { return forward + input + weight; }
};

/// How transfers wait for one another. They never hold up computation, only what needs the value.
enum class CommQueues {
  per_edge,  ///< one queue in order for each pair of ranks and direction
  per_rank   ///< one queue in order for all sends and receives of a rank: a single communicator
};

/// Who waits for the values that come around: from the last rank to the first rank's next stage, and for gradients
/// back.
enum class WrapAround {
  every_microbatch,  ///< each microbatch for its own value: what can run
  /// Of each group of p microbatches only the first: some others start before their value is there. To compare with the
  /// published rates of interleaved schedules in Qi et al. 2024, which are computed so
  /// (docs/measurements/bubble-table.md).
  first_of_group
};

struct SimulationCosts {
  std::vector<StageCost> stages = {StageCost{}};  ///< one for all stages, or one per stage
  double transfer = 0;                            ///< one activation or gradient between two ranks
  CommQueues queues = CommQueues::per_edge;
  WrapAround wrap_around = WrapAround::every_microbatch;
};

struct TimedAction {
  Action action;
  double start = 0;
  double end = 0;
};

struct Transfer {
  Action send;
  int32_t from = 0;
  int32_t to = 0;
  double start = 0;
  double end = 0;
};

struct Simulation {
  std::vector<std::vector<TimedAction>> compute;  ///< per rank
  std::vector<Transfer> transfers;
  double makespan = 0;
  double bubble_ratio = 0;             ///< 1 − useful / makespan; useful is the mean over ranks of computing time
  double bubble_ratio_stage_span = 0;  ///< (span − useful) / span; span is the largest end − start over ranks
  std::vector<int32_t> peak_live;      ///< see peak_live()
};

/// Times a lowered, valid schedule. Throws Error (internal) where it cannot complete. WrapAround::first_of_group needs
/// stages placed in a loop and whole groups of p microbatches.
[[nodiscard]] Simulation simulate(const Schedule& lowered, const SimulationCosts& costs = {});

}  // namespace trident::pipeline
