#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "launch/gang_state.h"

namespace trident {

/// A rank that works longer at its steps than those that do the same work.
struct Straggler {
  int rank = 0;
  double ratio = 0;         ///< to the median of its peers
  double busy_seconds = 0;  ///< of its last step
  bool over = false;        ///< it has caught up again
};

/// By rank: its work at its last step to the median of its peers; nothing where it has none.
[[nodiscard]] std::vector<std::optional<double>> peer_ratios(const GangState& gang);

/// Compares what ranks work at a step, without their waiting, with the same number of their peers: the data-parallel
/// replicas of the same part of the model, else the tensor-parallel ranks. Who has none is not judged. Says a rank's
/// name once when 9 of its last 10 steps seen were 1.2 times as long, and once when 9 of 10 are below 1.1 again: ranks
/// that share processors are slow now and then.
class StragglerWatch {
 public:
  static constexpr size_t kSteps = 10;
  static constexpr size_t kMost = 9;
  static constexpr double kSlow = 1.2;
  static constexpr double kFine = 1.1;
  static constexpr double kLeastSeconds = 0.01;  ///< less of a difference is none: one rank writes logs

  explicit StragglerWatch(size_t ranks) : ranks_(ranks) {}

  [[nodiscard]] std::vector<Straggler> look(const GangState& gang);

 private:
  struct Rank {
    int64_t step = -1;
    std::deque<double> ratios;
    bool slow = false;
  };

  std::vector<Rank> ranks_;
};

}  // namespace trident
