#pragma once

#include <cstdint>

#include "launch/gang_state.h"

namespace trident {

enum class SimulatedFault { none, dead, hung, mismatched };

/// Ranks that train without being there: a second a step.
struct SimulatedGang {
  static constexpr int kRanksPerNode = 8;

  int ranks = 16;
  SimulatedFault fault = SimulatedFault::none;

  /// tp within a node; as square as that leaves it.
  [[nodiscard]] MeshShape mesh() const;
  [[nodiscard]] int nodes() const { return ranks / kRanksPerNode; }
  [[nodiscard]] int culprit() const { return ranks - 3; }
  /// What a node's agent would say of it `seconds` after its start; the fault came `since_fault` seconds ago, not yet
  /// where negative.
  [[nodiscard]] RankState rank(int number, double seconds, double since_fault) const;

 private:
  void hurt(RankState& rank, double since_fault) const;
};

}  // namespace trident
