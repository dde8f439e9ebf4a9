#pragma once

#include <string>
#include <vector>

#include "plan/layout.h"

namespace trident::plan {

/// A training step that somebody published, as a workload and its layout.
struct PublishedRow {
  std::string table, name;  ///< the paper's table, by the letters of docs/planner.md
  Workload workload;
  Layout layout;
  double step_s = 0;    ///< published, or from what is published
  bool fitted = false;  ///< one of the rows to which the machine's constants are fitted
};

/// On A100-80: Narayanan et al. 2021, Korthikanti et al. 2022, Qi et al. 2024.
[[nodiscard]] std::vector<PublishedRow> published_on_a100();
/// On H100: Llama 3 (2024), NVIDIA NeMo's performance summary.
[[nodiscard]] std::vector<PublishedRow> published_on_h100();

/// The papers' GPT of these sizes.
[[nodiscard]] ModelConfig published_gpt(int64_t layers, int64_t hidden, int64_t heads);

}  // namespace trident::plan
