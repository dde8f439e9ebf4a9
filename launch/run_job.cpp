#include "launch/run_job.h"

#include <utility>

#include "core/error.h"
#include "launch/status/job_status.h"

namespace trident {

int run_job(LaunchPlan plan, const RunDirectory& folder, Nodes& nodes) {
  JobStatus status(plan.coordinator.job, folder);
  plan.coordinator.publish = [&status](const GangState& gang, int64_t epoch) { status.board().publish(gang, epoch); };
  Coordinator coordinator(std::move(plan.coordinator), folder, nodes);
  status.serve();
  const int code = coordinator.run();
  status.finish();
  if (!plan.scheduled) return code;
  const bool as_expected = coordinator.chaos().finish();
  return code != 0 || as_expected ? code : static_cast<int>(ErrorCode::internal);
}

}  // namespace trident
