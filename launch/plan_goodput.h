#pragma once

#include <nlohmann/json.hpp>

#include <string>

#include "launch/command_line.h"
#include "plan/goodput.h"
#include "plan/search.h"
#include "train/config/job_config.h"

namespace trident {

/// What the command line says of a simulation over days; negative where it leaves a value to the job.
struct GoodputArguments {
  bool wanted = false;
  double days = 54;
  int64_t spares = 0;
  double detection_s = -1;
  double restart_s = 60;
  double checkpoint_s = 1;
  double interval_s = -1;
  double failures_per_hour = -1;
  uint64_t seed = 1;
};

void add_goodput(Verb& verb, GoodputArguments& arguments);

/// The job's first layout on the cluster that fails as its file says.
[[nodiscard]] plan::GoodputJob goodput_job(const GoodputArguments& arguments, const JobConfig& job,
                                           const plan::ClusterSpec& cluster, const plan::SearchResult& result,
                                           int64_t ranks);

/// With every assumption.
[[nodiscard]] std::string goodput_text(const plan::GoodputJob& job, const plan::GoodputResult& result);
[[nodiscard]] nlohmann::ordered_json goodput_json(const plan::GoodputJob& job, const plan::GoodputResult& result);

}  // namespace trident
