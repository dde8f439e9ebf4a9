#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/checkpoint_problem.h"

namespace trident {

struct CheckpointVerdict {
  enum class Kind { intact, corrupt, incomplete, newer_format };
  Kind kind = Kind::intact;
  std::vector<CheckpointProblem> problems;
  /// Names in the folder that the manifest does not list. They are never read, so they are no problem.
  std::vector<std::string> strangers;
};

/// Reads every byte of a checkpoint and compares all hashes and digests. Lists every problem, file by file; a damaged
/// block with the tensors whose elements it changed. `incomplete`: nothing is wrong but that files, or their ends, are
/// not there. A deleted view is no problem. Throws only Error(input_missing) where the folder is not there.
[[nodiscard]] CheckpointVerdict verify_checkpoint(const std::filesystem::path& path);

}  // namespace trident
