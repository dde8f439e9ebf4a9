#pragma once

#include <vector>

#include "parallel/pipeline/schedule.h"

namespace trident::pipeline {

/// Every legal request up to `ranks` ranks, `microbatches` microbatches and four virtual stages.
inline std::vector<ScheduleRequest> legal_requests(int ranks, int microbatches) {
  std::vector<ScheduleRequest> requests;
  for (const auto& name : schedule_names())
    for (int p = 1; p <= ranks; ++p)
      for (int m = 1; m <= microbatches; ++m)
        for (int v = 1; v <= 4; ++v)
          if (!refuse({name, p, m, v})) requests.push_back({name, p, m, v});
  return requests;
}

}  // namespace trident::pipeline
