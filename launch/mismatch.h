#pragma once

#include <optional>
#include <string>

#include "launch/gang_state.h"

namespace trident {

/// A rank that made another call than most of its group.
struct Mismatch {
  int rank = -1;
  std::string evidence;
};

/// Where a rank ended with an error inside a collective: the one of its group that began another one than most did as
/// the same call; of equal halves, one of those ahead.
[[nodiscard]] std::optional<Mismatch> find_mismatch(const GangState& gang);

}  // namespace trident
