#pragma once

#include <nlohmann/json.hpp>

#include <optional>
#include <string>

#include "plan/search.h"

namespace trident {

/// What the ranked layouts are reported with.
struct PlanReport {
  const plan::Workload& workload;
  const plan::ClusterSpec& cluster;
  const plan::SearchResult& result;
  std::optional<double> tokens;  ///< to be trained on, for time and cost
  size_t top = 10;               ///< layouts that are listed
};

[[nodiscard]] nlohmann::ordered_json to_json(const PlanReport& report);
/// A table, what was refused, and the conventions behind the numbers.
[[nodiscard]] std::string to_text(const PlanReport& report);
/// Everything about one layout.
[[nodiscard]] std::string explain(const PlanReport& report, const plan::LayoutPlan& plan);

}  // namespace trident
