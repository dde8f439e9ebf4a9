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

// Tasks of node `node` from Slurm's list by node, such as `4(x2),3`. Nothing where it does not say.
std::optional<int> tasks_of_node(std::string_view list, int node) {
  const auto take_number = [&]() -> std::optional<int> {
    int value = 0;
    const auto [end, error] = std::from_chars(list.data(), list.data() + list.size(), value);
    if (error != std::errc() || value < 1) return std::nullopt;
    list.remove_prefix(static_cast<size_t>(end - list.data()));
    return value;
  };
  const auto take = [&](std::string_view text) {
    if (!list.starts_with(text)) return false;
    list.remove_prefix(text.size());
    return true;
  };
  for (int64_t before = 0;;) {
    const auto tasks = take_number();
    const auto nodes = tasks && take("(x") ? take_number() : 1;
    if (!tasks || !nodes) return std::nullopt;
    before += *nodes;
    if (node < before) return tasks;
    (void)take(")");
    if (!take(",")) return std::nullopt;
  }
}

std::optional<int> slurm_local_size(const EnvironmentGetter& get, std::optional<int> node) {
  auto list = get("SLURM_STEP_TASKS_PER_NODE");
  if (!list) list = get("SLURM_TASKS_PER_NODE");
  return list && node ? tasks_of_node(*list, *node) : std::nullopt;
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
    const auto node = number(get, "SLURM_NODEID");
    const LaunchEnvironment found{
        Launcher::slurm, *slurm_rank, *slurm_size, number(get, "SLURM_LOCALID"), slurm_local_size(get, node), node};
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
