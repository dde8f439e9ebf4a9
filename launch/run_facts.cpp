#include "launch/run_facts.h"

#include <string>

#include "core/error.h"
#include "core/log.h"
#include "train/config/config.h"

namespace trident {

RunFacts facts_of(const JobConfig& job) {
  const auto& layout = job.parallelism;
  const int64_t ranks = layout.dp.value_or(1) * layout.tp.value_or(1) * layout.pp.value_or(1);
  return {job.run.name, parameter_count(job.model), job.training.total_steps(), static_cast<int>(ranks)};
}

RunFacts facts_of(const RunDirectory& run) {
  const std::string text = run.read_config();
  if (text.empty()) return {};
  try {
    return facts_of(parse_job(text, run.config().string()));
  } catch (const Error& error) {
    log::warning("the report lacks what {} says: {}", run.config().string(), error.what());
    return {};
  }
}

}  // namespace trident
