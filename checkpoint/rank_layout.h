#pragma once

#include <string>

#include "checkpoint/hdf5_image.h"
#include "checkpoint/rank_file.h"

namespace trident {

/// "/optim/exp_avg", a rank file's dataset.
[[nodiscard]] std::string array_path(StateKind kind);

/// Everything of a rank's file but its arrays, and where in it they lie.
struct RankLayout {
  hdf5::Image image;
  PerState payload{};  ///< byte at which each array begins; 0 where there is none

  explicit RankLayout(const RankFileHeader& header);
};

}  // namespace trident
