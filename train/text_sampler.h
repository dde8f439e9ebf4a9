#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "data/tokenizer.h"
#include "parallel/comm/device_mesh.h"
#include "train/config/job_config.h"
#include "train/engine.h"
#include "train/weight_gatherer.h"

namespace trident {

/// Text that a model in training goes on with, now and then, by the keys logging.sample_*.
class TextSampler {
 public:
  /// Collective. `engine` and `tokenizer` outlive it.
  TextSampler(JobConfig job, const DeviceMesh& mesh, Engine& engine, const Tokenizer& tokenizer);

  [[nodiscard]] bool due(int64_t step) const;
  /// Collective. The prompt and what follows it on rank 0, nothing elsewhere. Where ranks have parts of the model, rank
  /// 0 borrows the others' for it.
  [[nodiscard]] std::optional<std::string> sample();

 private:
  [[nodiscard]] std::string generate(const Model& model) const;

  JobConfig job_;
  bool is_first_;
  bool whole_;  // every rank has the whole model
  Engine& engine_;
  const Tokenizer& tokenizer_;
  WeightGatherer gatherer_;
};

}  // namespace trident
