#include "parallel/comm/launch_environment.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>

#include "core/error.h"

namespace trident {
namespace {

constexpr const char* kRemedy = "start the job with mpirun or srun, or unset the variable";

std::optional<int> number(const EnvironmentGetter& get, std::string_view name) {
  const auto text = get(name);
  if (!text) return std::nullopt;
  int value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value < 0) {
    throw Error(ErrorCode::config, "launch environment",
                fmt::format("{}={} is not a number from 0 up", name, text->substr(0, 80)), kRemedy);
  }
  return value;
}

void check(const LaunchEnvironment& found, std::string_view rank_name, std::string_view size_name) {
  if (found.rank < found.size) return;
  throw Error(ErrorCode::config, "launch environment",
              fmt::format("{}={}, but {}={}", rank_name, found.rank, size_name, found.size), kRemedy);
}

}  // namespace

LaunchEnvironment detect_launch(const EnvironmentGetter& get) {
  using Launcher = LaunchEnvironment::Launcher;
  const auto ompi_rank = number(get, "OMPI_COMM_WORLD_RANK");
  const auto ompi_size = number(get, "OMPI_COMM_WORLD_SIZE");
  if (ompi_rank && ompi_size) {
    const LaunchEnvironment found{Launcher::open_mpi,
                                  *ompi_rank,
                                  *ompi_size,
                                  number(get, "OMPI_COMM_WORLD_LOCAL_RANK"),
                                  number(get, "OMPI_COMM_WORLD_LOCAL_SIZE"),
                                  number(get, "SLURM_NODEID")};
    check(found, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
    return found;
  }
  const auto slurm_rank = number(get, "SLURM_PROCID");
  const auto slurm_size = number(get, "SLURM_NTASKS");
  // A batch script's own shell is task 0 of the allocation, but no task of a step: srun sets SLURM_STEP_ID.
  if (slurm_rank && slurm_size && get("SLURM_STEP_ID") && get("SLURM_STEP_ID") != "4294967291") {
    const LaunchEnvironment found{Launcher::slurm, *slurm_rank,
                                  *slurm_size,     number(get, "SLURM_LOCALID"),
                                  std::nullopt,    number(get, "SLURM_NODEID")};
    check(found, "SLURM_PROCID", "SLURM_NTASKS");
    return found;
  }
  if (const auto rank = number(get, "PMIX_RANK")) {
    return {Launcher::pmix, *rank, 0, std::nullopt, std::nullopt, std::nullopt};
  }
  return {};
}

LaunchEnvironment detect_launch() {
  return detect_launch([](std::string_view name) -> std::optional<std::string> {
    const char* value = std::getenv(std::string(name).c_str());  // NOLINT(concurrency-mt-unsafe)
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  });
}

}  // namespace trident
