#include "train/config/remaining_mesh.h"

#include <utility>

#include "core/error.h"
#include "plan/search.h"
#include "train/config/decide_mesh.h"
#include "train/config/job_plan.h"

namespace trident {

RemainingMesh::RemainingMesh(const JobConfig& job, const JobConfig& started, ResolvedOrigins origins,
                             plan::ClusterSpec cluster, bool planned)
    : job_(planned ? job : started),
      started_(mesh_of(started)),
      origins_(std::move(origins)),
      cluster_(std::move(cluster)) {
  // Other numbers would change the sums.
  job_.training.micro_batch_size = started.training.micro_batch_size;
  job_.parallelism.logical_shards = started.parallelism.logical_shards;
  job_.parallelism.tp = started.parallelism.tp;
}

std::optional<MeshShape> RemainingMesh::choose(int64_t places) const {
  if (places >= started_.ranks()) return started_;
  JobConfig open = job_;
  open.parallelism.dp = {};
  open.parallelism.pp = {};
  const auto accept = [&](const plan::Layout& layout) {
    return layout.ranks() >= job_.fault.min_ranks && can_start(mesh_of(layout));
  };
  const auto best = plan::best_layout(workload_of(open), cluster_, search_space(open, places), accept);
  return best ? std::optional(mesh_of(best->layout)) : std::nullopt;
}

bool RemainingMesh::can_start(const MeshShape& mesh) const {
  JobConfig trial = job_;
  trial.parallelism.dp = mesh.dp, trial.parallelism.pp = mesh.pp;
  const auto ranks = static_cast<int>(mesh.ranks());
  try {
    (void)decide_mesh(trial, origins_, {LaunchEnvironment::Launcher::open_mpi, 0, ranks, 0, ranks, std::nullopt});
    return true;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace trident
