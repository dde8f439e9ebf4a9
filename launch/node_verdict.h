#pragma once

#include <optional>
#include <string>
#include <vector>

#include "launch/verdict.h"

namespace trident {

/// Nodes of which nothing is heard any more.
struct LostNodes {
  std::string host;      ///< of the first
  std::string what;      ///< "node b is lost"
  std::string evidence;  ///< what is known of it
  bool majority = true;  ///< those that are left may go on
};

/// The step that the first of these ranks is at; 0: none is at any.
[[nodiscard]] int64_t furthest_step(const std::vector<RankState>& ranks);

[[nodiscard]] Verdict of_lost_nodes(const LostNodes& lost, const GangState& gang);

/// Where ranks are gone without a word, and so is the daemon that mpirun had on their node, though nobody killed
/// mpirun.
[[nodiscard]] std::optional<Verdict> find_lost_daemon(const GangState& gang);

}  // namespace trident
