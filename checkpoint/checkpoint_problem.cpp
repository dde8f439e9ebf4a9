#include "checkpoint/checkpoint_problem.h"

#include <fmt/format.h>

#include <utility>

namespace trident {

std::string to_string(const CheckpointProblem& problem) {
  std::string where = problem.file;
  const auto add = [&](const std::string& part) {
    if (!where.empty() && !part.empty()) where += ", ";
    where += part;
  };
  if (problem.block) add(fmt::format("block {}", *problem.block));
  add(problem.tensor);
  return where.empty() ? problem.detail : where + ": " + problem.detail;
}

DamagedCheckpoint::DamagedCheckpoint(const std::filesystem::path& folder, CheckpointProblem problem)
    : Error(ErrorCode::bad_data, "checkpoint", folder.string() + ": " + to_string(problem),
            fmt::format("use an earlier checkpoint; 'trident checkpoint verify {}' lists all damage", folder.string())),
      problem_(std::move(problem)) {}

}  // namespace trident
