#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "parallel/pipeline/schedule.h"

namespace trident::pipeline {

enum class ProblemKind {
  malformed,              ///< sizes disagree, or a stage, microbatch or rank is out of range; nothing else is looked at
  wrong_rank,             ///< an action stands on a rank that does not own its stage
  missing_action,         ///< a (stage, microbatch) lacks its forward, input gradient or weight gradient
  duplicate_action,       ///< something is done twice
  wrong_order,            ///< a (stage, microbatch) does not run forward, then input, then weight gradient
  weight_order,           ///< a stage's weight gradients are out of microbatch order, so their sum is not the exact one
  missing_communication,  ///< a value that another rank needs is not sent, or not received before its use
  needless_communication,  ///< a send or receive of a value that stays on its rank or does not exist
  unmatched_order,         ///< sends and receives from one rank to another differ in number or order
  early_reduction,         ///< a reduction before the gradients that it adds are complete
  deadlock,                ///< the replay stops: with blocking sends and receives where they are in the lists
  too_much_memory          ///< more `Saved` values alive than allowed
};

struct Problem {
  ProblemKind kind = ProblemKind::malformed;
  int32_t rank = -1;  ///< -1 where it concerns all
  std::string detail;
};

struct ValidateOptions {
  int32_t max_live = 0;       ///< `Saved` values per rank; 0: any number
  size_t max_problems = 100;  ///< how many are listed at most
};

/// "weight-order" and so on.
[[nodiscard]] std::string problem_name(ProblemKind kind);
[[nodiscard]] std::string to_string(const Problem& problem);

/// Everything that is wrong with a schedule; empty where it is correct. Its dependencies are replayed, after lowering
/// its communication too, unbuffered: a send waits for its receive.
[[nodiscard]] std::vector<Problem> validate(const Schedule& schedule, const ValidateOptions& options = {});

/// Throws Error (internal) that lists the problems, if there are any.
void require_valid(const Schedule& schedule, const ValidateOptions& options = {});

}  // namespace trident::pipeline
