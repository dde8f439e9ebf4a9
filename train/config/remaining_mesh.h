#pragma once

#include <optional>

#include "plan/cluster_spec.h"
#include "train/config/config.h"

namespace trident {

/// A job that ranks are started for, and what it may go on with where some of their places are lost.
class RemainingMesh {
 public:
  /// `started` was decided for all ranks, from `job` as it was read. Both have places (plan::place_for_each) on
  /// `cluster`. Where the trainer asks the planner (`planned`), keys that `job` leaves to it stay open.
  RemainingMesh(const JobConfig& job, const JobConfig& started, ResolvedOrigins origins, plan::ClusterSpec cluster,
                bool planned);

  /// The planner's fastest mesh of at most `places` ranks and at least fault.min_ranks, with tp as it was started
  /// (another would change the sums inside products), which fits the memory and passes the checks of a start. With all
  /// places the one that was started. Without communication, in milliseconds, and always the same.
  [[nodiscard]] std::optional<MeshShape> choose(int64_t places) const;

 private:
  [[nodiscard]] bool can_start(const MeshShape& mesh) const;

  JobConfig job_;
  MeshShape started_;
  ResolvedOrigins origins_;
  plan::ClusterSpec cluster_;
};

}  // namespace trident
