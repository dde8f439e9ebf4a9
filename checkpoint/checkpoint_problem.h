#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "core/error.h"

namespace trident {

/// Something wrong with a checkpoint. Empty fields do not apply.
struct CheckpointProblem {
  std::string file{};
  std::string tensor{};
  std::optional<int64_t> block{};  ///< number of the 4 MiB block of the file
  std::string detail{};
  bool missing = false;  ///< something is not there, rather than wrong
};

/// "rank_00003.h5, block 7, layers.3.attention.query.weight: …"
[[nodiscard]] std::string to_string(const CheckpointProblem& problem);

/// A damaged checkpoint: Error(bad_data) that also says where, field by field.
class DamagedCheckpoint : public Error {
 public:
  DamagedCheckpoint(const std::filesystem::path& folder, CheckpointProblem problem);
  [[nodiscard]] const CheckpointProblem& problem_found() const { return problem_; }

 private:
  CheckpointProblem problem_;
};

}  // namespace trident
