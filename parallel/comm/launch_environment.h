#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace trident {

/// What the launcher told this process, known before MPI starts, so that a job that cannot run is refused early.
struct LaunchEnvironment {
  enum class Launcher { none, open_mpi, slurm, pmix };
  Launcher launcher = Launcher::none;
  int rank = 0;
  int size = 1;                   ///< 0 where the launcher does not say (PMIx alone)
  std::optional<int> local_rank;  ///< among the ranks of this node
  std::optional<int> local_size;
  std::optional<int> node;
};

/// The value of an environment variable, or nothing.
using EnvironmentGetter = std::function<std::optional<std::string>(std::string_view name)>;

/// Open MPI's variables before Slurm's (mpirun inside a Slurm allocation sets both) before PMIx's. Throws
/// Error(config) naming the variable if one is not a number or they contradict one another.
[[nodiscard]] LaunchEnvironment detect_launch(const EnvironmentGetter& get);
/// From this process's environment.
[[nodiscard]] LaunchEnvironment detect_launch();

}  // namespace trident
